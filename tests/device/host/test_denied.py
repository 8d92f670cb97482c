"""What a host logs of what its broker denies: MQTT 5's reason codes in the port's log, and nothing lost or flooded."""

import os
import queue
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import paho.mqtt.client as paho
import pytest

from device_sdk import port_paho
from device_sdk.agent import Agent
from device_sdk.port_paho import PahoPort
from tests.support.arrivals import DEADLINE_S

from .conftest import Broker, find, missing

LAYOUT = ["1.0.0", [["sys", "load-average"]], []]
USER = "fleet-a/dev-1"
TOPIC = "edge/fleet-a/dev-1/"
DENIED = "publish on edge/fleet-a/dev-1/%s was denied by the broker: Not authorized (135)"
REFUSALS = ("publish on ", "subscribe ", "the broker refuses ", "the connection ended: ")
"""How the lines begin that the port says of its own; the others are those of log.py."""


class Rules:
    """The ACL of a broker. The gateway, which has no name here, may do anything; the device what `allow` says."""

    def __init__(self, folder):
        self.path = folder / "acl"
        self.allow()

    def allow(self, *channels):
        lines = ["topic readwrite #", f"user {USER}", *(f"topic write {TOPIC}{channel}" for channel in channels)]
        self.path.write_text("\n".join(lines) + "\n")
        os.chmod(self.path, 0o600)


@pytest.fixture
def rules(tmp_path):
    return Rules(tmp_path)


@pytest.fixture
def broker(tmp_path, rules):
    """Reads `rules` at each SIGHUP."""
    command = find("mosquitto") or missing("no mosquitto on the PATH")
    log = f"log_dest file {tmp_path / 'log'}\nlog_type debug\n"
    broker = Broker(command, tmp_path, f"user root\nacl_file {rules.path}\n{log}")
    yield broker
    broker.signal(signal.SIGCONT)
    broker.kill()


class Host:
    """An agent with one metric, 1 at its first heartbeat, 2 at the next. `lines` has the logged refusals."""

    def __init__(self, protocol=paho.MQTTv5, kind=paho.Client, version=paho.CallbackAPIVersion.VERSION2):
        self.lines = queue.Queue()
        self.measured = 0
        self.agent = Agent(LAYOUT, measure=self._measure, interval=1, max_payload=None)
        self.client = kind(version, "host", protocol=protocol)
        self.client.username_pw_set(USER)
        self.client.reconnect_delay_set(1, 1)
        self.port = PahoPort(self.agent, self.client, "fleet-a", "dev-1", log=self._log)
        self._thread = threading.Thread(target=self.port.run)

    def _log(self, line):
        if line.startswith(REFUSALS):
            self.lines.put(line)

    def _measure(self, agent):
        self.measured += 1
        agent.sample("load-average", self.measured)

    def connect(self, port):
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def run(self, port):
        self.connect(port)
        self._thread.start()

    def line(self):
        return self.lines.get(timeout=DEADLINE_S)

    def step_until(self, done):
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, "nothing came of it"
            self.port.step(0.1)

    def close(self):
        self.port.stop()
        if self._thread.is_alive():
            self._thread.join(DEADLINE_S)
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def hosts():
    """Makes a Host, and ends it."""
    made = []

    def make(*arguments, **options):
        made.append(Host(*arguments, **options))
        return made[-1]

    yield make
    for host in made:
        host.close()


def samples(heartbeat):
    """The values of its metric, without their ages."""
    (of_metric,) = heartbeat[2]
    return of_metric[::2] if isinstance(of_metric, list) else [of_metric]


def test_a_denied_heartbeat_is_reported_and_nothing_of_it_is_lost(hosts, broker, rules, gateway):
    rules.allow("hello")
    broker.signal(signal.SIGHUP)
    host = hosts()
    host.run(broker.port)
    assert host.line() == DENIED % "hb"
    assert str(host.port.error) == DENIED % "hb"
    rules.allow("hello", "hb")
    broker.signal(signal.SIGHUP)
    first = samples(gateway.wait(lambda channel, value: channel == "hb"))
    assert first == list(range(1, len(first) + 1))
    assert len(first) > 1
    assert samples(gateway.wait(lambda channel, value: channel == "hb")) == [len(first) + 1]
    assert host.port.error is None


def test_what_is_denied_is_not_tried_in_a_loop(hosts, broker, monkeypatch):
    """After a second at most, then after two, whatever the agent has to say."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(port_paho, "time", SimpleNamespace(monotonic=lambda: clock.now))
    host = hosts()
    host.connect(broker.port)
    for tries, seconds in enumerate([1.0, 2.0, 4.0, 8.0], 1):
        host.step_until(lambda tries=tries: host.lines.qsize() == tries)
        clock.now += seconds / 2 - 0.01
        host.port.step()
        host.client.publish("of/the/user", b"", 1).wait_for_publish(DEADLINE_S)  # what was sent before it is answered
        host.port.step()
        assert host.lines.qsize() == tries
        clock.now += seconds / 2 + 0.01
    assert [host.line() for _ in range(4)] == [DENIED % "hello"] * 4


def test_a_denied_request_for_a_plan_holds_up_no_heartbeat(hosts, broker, rules, gateway):
    rules.allow("hello", "hb")
    broker.signal(signal.SIGHUP)
    host = hosts()
    host.agent.fetch = True
    host.run(broker.port)
    assert host.line() == DENIED % "get"
    assert gateway.wait(lambda channel, value: channel == "hb")


def test_with_3_1_1_a_denied_heartbeat_is_confirmed_and_the_brokers_log_alone_says_so(
    hosts, broker, rules, gateway, tmp_path
):
    rules.allow("hello")
    broker.signal(signal.SIGHUP)
    host = hosts(paho.MQTTv311)
    host.connect(broker.port)
    host.step_until(lambda: host.measured >= 3)
    assert host.lines.empty()
    assert host.agent.count == 1  # the earlier ones are lost
    assert gateway.wait(lambda channel, value: True)[1] == LAYOUT
    broker.stop()
    assert re.search(rf"Denied PUBLISH from host \(d0, q1, r0, m\d+, '{TOPIC}hb', ", (tmp_path / "log").read_text())


@pytest.mark.parametrize(
    ("protocol", "version", "why"),
    [
        (paho.MQTTv5, paho.CallbackAPIVersion.VERSION2, "Not authorized (135)"),
        (paho.MQTTv311, paho.CallbackAPIVersion.VERSION2, "Not authorized (135)"),
        pytest.param(
            paho.MQTTv311,
            paho.CallbackAPIVersion.VERSION1,
            "code 5",
            marks=pytest.mark.filterwarnings("ignore:Callback API version 1:DeprecationWarning"),
        ),
    ],
    ids=["5", "3.1.1", "3.1.1-older-callbacks"],
)
def test_a_refused_connection_is_reported(hosts, tmp_path, protocol, version, why):
    (tmp_path / "passwords").touch(0o600)  # nobody has one
    command = find("mosquitto") or missing("no mosquitto on the PATH")
    broker = Broker(command, tmp_path, f"user root\npassword_file {tmp_path / 'passwords'}\n")
    try:
        host = hosts(protocol, version=version)
        host.run(broker.port)
        assert host.line() == "the broker refuses the connection: " + why
    finally:
        broker.kill()


@pytest.fixture
def listener():
    """A broker that a test plays itself: this Mosquitto denies no subscription, and 2.0.11 closes without a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        yield listener


def packet(connection):
    """The first byte and the body of a packet of less than 128 bytes."""
    kind, size = connection.recv(2, socket.MSG_WAITALL)
    return kind, connection.recv(size, socket.MSG_WAITALL)


@contextmanager
def accepted(listener, connack):
    """The next client's connection, answered, and the packet id of its subscription."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(DEADLINE_S)
        packet(connection)
        connection.sendall(connack)
        kind, body = packet(connection)
        assert kind == 0x82
        yield connection, body[:2]


def test_a_connection_that_the_broker_ends_is_reported(hosts, listener):
    host = hosts()
    host.run(listener.getsockname()[1])
    with accepted(listener, b"\x20\x03\0\0\0") as (connection, _):
        connection.sendall(b"\xe0\x02\x8e\0")
        assert host.line() == "the connection ended: Session taken over (142)"


@pytest.mark.parametrize(
    ("protocol", "connack", "suback", "why"),
    [
        (paho.MQTTv5, b"\x20\x03\0\0\0", b"\x90\x04%s\0\x87", "Not authorized (135)"),
        (paho.MQTTv311, b"\x20\x02\0\0", b"\x90\x03%s\x80", "Unspecified error (128)"),
    ],
    ids=["5", "3.1.1"],
)
def test_a_denied_subscription_is_reported(hosts, listener, protocol, connack, suback, why):
    host = hosts(protocol)
    host.run(listener.getsockname()[1])
    with accepted(listener, connack) as (connection, packet_id):
        connection.sendall(suback % packet_id)
        assert host.line() == f"subscribe to {TOPIC}ack was denied by the broker: {why}"


def test_a_client_whose_queue_is_full_is_tried_again(hosts, broker, rules, gateway):
    rules.allow("hello", "hb")
    broker.signal(signal.SIGHUP)
    host = hosts()
    host.client.max_queued_messages_set(1)
    host.connect(broker.port)
    host.step_until(lambda: host.agent.said)
    broker.signal(signal.SIGSTOP)
    host.client.publish("of/the/user", b"", 1)
    host.step_until(lambda: not host.lines.empty())
    assert host.line() == f"publish on {TOPIC}hb was not taken by the client: its queue is full"
    broker.signal(signal.SIGCONT)
    host.step_until(lambda: host.port.error is None)
    first = samples(gateway.wait(lambda channel, value: channel == "hb"))
    assert first == list(range(1, len(first) + 1))


class Late(paho.Client):
    """Its connection breaks whenever somebody has just asked for it."""

    def is_connected(self):
        return True


def test_a_connection_that_breaks_as_something_is_published_ends_no_agent(hosts, broker, rules, gateway):
    rules.allow("hello", "hb")
    broker.signal(signal.SIGHUP)
    host = hosts(kind=Late)
    host.port.step()
    host.connect(broker.port)
    host.step_until(lambda: host.agent.said)
    assert gateway.wait(lambda channel, value: channel == "hello")[1] == LAYOUT
