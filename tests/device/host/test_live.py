"""The whole device against a real Mosquitto, under both runtimes: plans, acks, a broker killed and one stopped."""

import contextlib
import json
import signal
import socket
import time

import paho.mqtt.client as paho
import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.processes import end, line
from tests.support.tcp_proxy import TcpProxyThread

from .conftest import last_line

NOW = 1795458600
PLAN = [7, [["deploy-7", 0, [["kws", 1]]]]]


def is_beat(channel, value):
    return channel == "hb"


def has_result(channel, value):
    return channel == "hb" and len(value) > 5


def test_a_result_is_repeated_until_it_is_acked(device, gateway):
    process = device("managed", "state")
    hello = gateway.wait(lambda channel, value: channel == "hello")
    assert hello[1] == ["1.0.0", [["sys", "free-heap"], ["sys", "rssi"]], []]
    beat = gateway.wait(is_beat)
    assert beat[0] == hello[0]
    assert beat[2:] == [[None, -61], None, 0]
    gateway.publish("plan", PLAN, retain=True)
    beats = [gateway.wait(has_result) for _ in range(3)]
    assert [each[4] for each in beats] == [7, 7, 7]
    assert [each[5][:3] for each in beats] == [["deploy-7", "SUCCESS", None]] * 3
    assert beats[0][5][5] == [["kws", None, None, 1, 1, 1]]
    assert len({each[6] for each in beats}) == 1
    gateway.publish("ack", [beats[0][6], 0, NOW])
    assert last_line(process) == {"have": 7, "installed": ["kws"], "bad": 0}


def test_a_broker_killed_and_restarted_loses_no_result(device, gateway, broker):
    process = device("managed", "state")
    gateway.wait(is_beat)
    gateway.publish("plan", PLAN, retain=True)
    seq = gateway.wait(has_result)[6]
    broker.kill()
    broker.start()
    gateway.subscribed()
    assert gateway.wait(has_result)[6] == seq
    gateway.publish("ack", [seq, 2, NOW])
    assert gateway.wait(lambda channel, value: channel == "hello")[1][0] == "1.0.0"
    assert gateway.wait(has_result)[6] == seq
    gateway.publish("ack", [seq, 0, NOW])
    assert last_line(process)["installed"] == ["kws"]


def test_a_device_killed_before_the_ack_reports_its_result_after_the_next_start(device, gateway):
    first = device("managed", "state")
    gateway.wait(is_beat)
    gateway.publish("plan", PLAN, retain=True)
    first_report = gateway.wait(has_result)
    end(first)
    second = device("managed", "state")
    second_report = gateway.wait(lambda channel, value: has_result(channel, value) and value[1] >= first_report[1])
    assert (second_report[5][0], second_report[5][5]) == (first_report[5][0], first_report[5][5])
    gateway.publish("ack", [second_report[6], 0, NOW])
    assert last_line(second) == {"have": 7, "installed": [], "bad": 0}


def test_hostile_payloads_from_the_broker_change_nothing(device, gateway):
    process = device("managed", "state")
    gateway.wait(is_beat)
    gateway.publish("ack", [[[[[[[[[[[]]]]]]]]]]])
    gateway.publish("plan", [5, 5])
    gateway.publish("plan", [5, ["x" * 5000]])  # larger than the device takes in: read over, not even counted as bad
    gateway.publish("plan", PLAN)
    beat = gateway.wait(has_result)
    gateway.publish("ack", [beat[6], 0, NOW])
    assert last_line(process) == {"have": 7, "installed": ["kws"], "bad": 2}


@pytest.mark.parametrize("call", ["connect", "publish", "subscribe", "poll"])
def test_a_call_ends_by_its_deadline_while_the_broker_is_stopped(device, broker, call):
    process = device("frozen", call)
    assert line(process, "sign that the device is ready") == '{"ready": true}\n'
    broker.signal(signal.SIGSTOP)
    process.stdin.write("go\n")
    process.stdin.flush()
    said = last_line(process)
    assert said["timed_out"]
    assert said["seconds"] < 15  # the deadline is 0.7 s, keepalive 3 s: far from "never"


@pytest.fixture
def mute():
    """Ports of the loopback where nothing answers: one takes no connection, one takes them and says nothing."""
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as dumb, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        for _ in range(3):  # more than wait for accept(): the next ones get no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield [address[1], dumb.getsockname()[1]]


def test_a_name_whose_first_addresses_are_silent_is_reached_and_a_watchdog_is_fed_meanwhile(device, broker, mute):
    check_silent(last_line(device("silent", json.dumps({"silent": mute, "der": None}))))


def test_so_with_tls_whose_handshake_is_never_answered(device, secure_broker, certificate, mute):
    check_silent(last_line(device("silent", json.dumps({"silent": mute, "der": str(certificate)}))))


def check_silent(said):
    """Each address has 2 s, and is not waited for as long as one that sends something slowly, which is 16 s."""
    assert 4000 <= said["took"] < 16_000
    assert said["waits"][len(said["waits"]) // 2] < 1900  # a busy machine makes some longer


def test_what_comes_with_qos_0_does_not_count_as_sent(device):
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = device("listening", str(server.getsockname()[1]))
        server.settimeout(DEADLINE_S)
        with server.accept()[0] as sock:
            sock.settimeout(DEADLINE_S)
            assert sock.recv(1000)[0] == 0x10
            sock.sendall(b"\x20\x02\x00\x00")
            sock.settimeout(0.05)
            start = time.monotonic()
            ping = None
            while not ping:
                assert time.monotonic() - start < DEADLINE_S, "no PINGREQ"  # keepalive is 1 s
                sock.sendall(b"\x30\x06\x00\x03a/bx")
                with contextlib.suppress(TimeoutError):
                    ping = sock.recv(100)
            assert ping == b"\xc0\x00"
    assert last_line(process)["seen"] > 0


def test_tls_with_a_verified_certificate(device, secure_broker, certificate):
    assert last_line(device("secure", str(certificate))) == {"seen": [2007, 2007, 2007]}


def test_tls_over_a_link_on_which_a_record_takes_longer_than_a_call_waits_for_a_byte(
    device, secure_broker, certificate
):
    publisher = paho.Client(paho.CallbackAPIVersion.VERSION2)
    publisher.tls_set(str(certificate.with_suffix(".pem")))
    with TcpProxyThread("127.0.0.1", secure_broker.port, rate=2500) as link:
        process = device("slow", json.dumps({"port": link.proxy.port, "der": str(certificate)}))
        assert line(process, "sign that the device is ready") == '{"ready": true}\n'
        publisher.connect("localhost", secure_broker.port)
        publisher.loop_start()
        publisher.publish("edge/slow", bytes(3500), 1).wait_for_publish(DEADLINE_S)
        assert last_line(process) == {"seen": [3500]}
        publisher.disconnect()
        publisher.loop_stop()


def test_steps_in_which_nothing_happens_allocate_nothing(device):
    assert last_line(device("idle", "300")) == {"error": None, "open": True}


def test_steady_heartbeats_allocate_nothing(device):
    process = device("steady", "300")
    assert last_line(process) == {"sent": 300}
