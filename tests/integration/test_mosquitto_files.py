"""The shipped mosquitto.conf and acl: what survives a kill -9, what is never dropped.

The broker is a Mosquitto that runs these files. That something does not arrive is shown by a sentinel sent after it.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.demo.brokers.address import BrokerLogin
from gateway.demo.brokers.mosquitto import SHIPPED, Mosquitto, with_site_lines
from tests.integration.acl_clients import device, gateway, operator
from tests.support import mqtt_packets
from tests.support.arrivals import DEADLINE_S
from tests.support.mqtt_client import Client, connecting
from tests.support.site import warnings_in

A = "fleet-m/a"
B = "fleet-m/b"


def topic(user: str, channel: str) -> str:
    return f"edge/{user}/{channel}"


def received(listener: Client, sentinel: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    """What came before the sentinel."""
    return list(iter(listener.next, sentinel))


# -- what the tests run is what is shipped --


def test_only_site_lines_are_changed(own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    shipped = (SHIPPED / "mosquitto.conf").read_text().splitlines()
    run = (tmp_path / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    changed = {a.split(" ")[0] for a, b in zip(shipped, run, strict=True) if a != b}
    assert changed <= {"user", "password_file", "acl_file", "persistence_location", "listener", "include_dir"}


def test_a_site_line_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 lines of the configuration begin with 'listener 9'"):
        with_site_lines("listener 99\n", {"listener 9": "listener 1"})


def test_a_site_line_that_is_there_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 lines"):
        with_site_lines("user a\nuser b\n", {"user": "user c"})


# -- the listener without TLS; test_isolation.py has the matrix of topics --


def test_a_device_cannot_disconnect_another_by_its_client_id(own_mosquitto: Mosquitto) -> None:
    at = own_mosquitto.address
    a, b = own_mosquitto.add_user(A), own_mosquitto.add_user(B)
    with (
        gateway(own_mosquitto) as gateway_client,
        connecting(at.host, at.device_port, a, A) as first,
        connecting(at.host, at.device_port, b, A) as second,
    ):
        assert not first.connack().is_failure
        assert not second.connack().is_failure
        gateway_client.subscribe("edge/+/+/hb")
        first.publish(topic(A, "hb"), b"still here")
        assert gateway_client.next() == (topic(A, "hb"), b"still here")


# -- what survives --


def leave_work_behind(broker: Mosquitto) -> None:
    """A session of the gateway with one waiting heartbeat, a retained hello and a retained plan."""
    with gateway(broker, session=True) as gateway_client, device(broker, A) as a:
        gateway_client.subscribe("edge/+/+/hb")
        gateway_client.publish(topic(A, "plan"), b"the plan", retain=True)
        a.publish(topic(A, "hello"), b"the hello", retain=True)
    with device(broker, A) as a:
        a.publish(topic(A, "hb"), b"waited")


def find_work_again(broker: Mosquitto) -> None:
    """Nobody subscribes to `hb` again: what comes comes by the session."""
    with device(broker, A) as a:
        a.publish(topic(A, "hb"), b"after the restart")
        a.subscribe(topic(A, "plan"))
        assert a.next() == (topic(A, "plan"), b"the plan")
    with gateway(broker, session=True) as gateway_client:
        assert [gateway_client.next(), gateway_client.next()] == [
            (topic(A, "hb"), b"waited"),
            (topic(A, "hb"), b"after the restart"),
        ]
        gateway_client.subscribe("edge/+/+/hello")
        assert gateway_client.next() == (topic(A, "hello"), b"the hello")


def test_all_that_was_saved_survives_kill_9(own_mosquitto: Mosquitto) -> None:
    leave_work_behind(own_mosquitto)
    own_mosquitto.save()
    own_mosquitto.kill()
    own_mosquitto.start()
    find_work_again(own_mosquitto)


def test_a_stop_saves_all(own_mosquitto: Mosquitto) -> None:
    leave_work_behind(own_mosquitto)
    own_mosquitto.stop()
    own_mosquitto.start()
    find_work_again(own_mosquitto)


# -- what is never dropped --


def test_more_waits_than_mosquittos_default_of_1000(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto, session=True) as gateway_client:
        gateway_client.subscribe("edge/+/+/hb")
    with device(own_mosquitto, A) as a:
        for n in range(3000):
            a.publish_unconfirmed(topic(A, "hb"), b"%d" % n)
        a.publish(topic(A, "hb"), b"last")
    with gateway(own_mosquitto, session=True) as gateway_client:
        waited = received(gateway_client, (topic(A, "hb"), b"last"))
    assert waited == [(topic(A, "hb"), b"%d" % n) for n in range(3000)]


LARGEST_PACKET = 73_728


@pytest.mark.parametrize("size", [65_536, LARGEST_PACKET - 100])
def test_a_large_payload_reaches_the_gateway_and_is_on_dead(own_mosquitto: Mosquitto, size: int) -> None:
    with gateway(own_mosquitto) as gateway_client, operator(own_mosquitto) as desk, device(own_mosquitto, A) as a:
        gateway_client.subscribe("edge/+/+/hb")
        desk.subscribe("edge/+/+/dead")
        a.publish(topic(A, "hb"), bytes(size))
        assert gateway_client.next() == (topic(A, "hb"), bytes(size))
        gateway_client.publish(topic(A, "dead"), bytes(size))
        assert desk.next() == (topic(A, "dead"), bytes(size))


def test_a_larger_packet_ends_its_connection_and_the_next_message_passes(own_mosquitto: Mosquitto) -> None:
    with gateway(own_mosquitto) as gateway_client, device(own_mosquitto, A) as a:
        gateway_client.subscribe("edge/+/+/hb")
        a.publish_unconfirmed(topic(A, "hb"), bytes(LARGEST_PACKET))
        assert a.disconnected().is_failure
        with device(own_mosquitto, B) as b:
            b.publish(topic(B, "hb"), b"sentinel")
        assert gateway_client.next() == (topic(B, "hb"), b"sentinel")


UNFINISHED, UNFINISHED_BYTES = 4000, 70_000


@contextmanager
def unfinished_exchanges(host: str, port: int, who: BrokerLogin, to: str) -> Iterator[None]:
    """A client that publishes so many payloads at QoS 2, and sends no PUBREL. The broker has read them all."""
    with socket.create_connection((host, port), DEADLINE_S) as connection:
        connection.sendall(mqtt_packets.connect("any", who.user, who.password))
        assert connection.recv(4) == b"\x20\2\0\0"
        for packet_id in range(1, UNFINISHED + 1):
            head = mqtt_packets.text(to) + packet_id.to_bytes(2, "big")
            connection.sendall(mqtt_packets.packet(0x34, head + bytes(UNFINISHED_BYTES)))
        connection.sendall(b"\xc0\0")
        answered = b""
        while not answered.endswith(b"\xd0\0"):
            answered += connection.recv(4096)
        yield


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process has")
def test_a_client_that_never_completes_its_qos_2_exchanges_is_limited(own_mosquitto: Mosquitto) -> None:
    """Before a reload and after it: 2.0 forgets a `max_qos` then."""
    for _ in range(2):
        at = own_mosquitto.address
        with gateway(own_mosquitto) as gateway_client:
            gateway_client.subscribe("edge/+/+/hb")
            with unfinished_exchanges(at.host, at.device_port, own_mosquitto.add_user(A), topic(A, "hb")):
                assert resident_bytes(own_mosquitto.pid) < UNFINISHED * UNFINISHED_BYTES / 2
        own_mosquitto.add_user(B)


def test_a_publish_at_qos_2_reaches_the_gateway_at_qos_1_after_a_reload_too(own_mosquitto: Mosquitto) -> None:
    for name in ("first", "second"):
        with gateway(own_mosquitto) as gateway_client, device(own_mosquitto, f"fleet-m/{name}") as a:
            gateway_client.subscribe("edge/+/+/hb")
            a.publish(topic(f"fleet-m/{name}", "hb"), b"careful", qos=2)
            assert gateway_client.next() == (topic(f"fleet-m/{name}", "hb"), b"careful")


def test_it_raises_no_warning_when_it_starts_nor_when_it_reloads(own_mosquitto: Mosquitto) -> None:
    own_mosquitto.add_user(A)
    assert warnings_in(own_mosquitto.log) == []
