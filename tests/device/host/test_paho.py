"""The port for paho: the same agent on a host's own client, against a real broker and an acting gateway."""

import queue
import socket
import threading
import time

import paho.mqtt.client as paho
import pytest

from device_sdk.agent import Agent
from device_sdk.host import time as board_time
from device_sdk.port_paho import PahoPort
from tests.support.arrivals import DEADLINE_S

LAYOUT = ["1.0.0", [["sys", "load-average"]], []]
NOW = 1795458600


class Host:
    """An agent in a thread of its own, as a user's program would run it."""

    def __init__(self, port: int, connect_first: bool, kind: type[paho.Client] = paho.Client) -> None:
        self.installed: list[str] = []
        self.agent = Agent(
            LAYOUT,
            install=lambda definition: self.installed.append(definition.handle),
            remove=lambda definition: self.installed.remove(definition.handle),
            measure=lambda agent: agent.sample("load-average", 0.5),
            interval=1,
            max_payload=None,
        )
        self.client = kind(paho.CallbackAPIVersion.VERSION2, "host")
        self.client.reconnect_delay_set(1, 1)
        if connect_first:
            self.client.connect("127.0.0.1", port)
            self.client.loop_start()
        self.port = PahoPort(self.agent, self.client, "fleet-a", "dev-1")
        if not connect_first:
            self.client.connect("127.0.0.1", port)
            self.client.loop_start()
        self.thread = threading.Thread(target=self.port.run)
        self.thread.start()

    def close(self) -> None:
        self.port.stop()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(params=[True, False], ids=["connected-before", "connected-after"])
def host(request, broker, gateway):
    host = Host(broker.port, request.param)
    yield host
    host.close()


def test_a_plan_reaches_a_host_and_its_result_comes_back(host, gateway):
    hello = gateway.wait(lambda channel, value: channel == "hello")
    assert hello[1:3] == [LAYOUT, host.agent.epoch]
    assert gateway.wait(lambda channel, value: channel == "hb")[2:] == [[0.5], None, 0]
    gateway.publish("plan", [7, [["deploy-7", 0, [["kws", 1]]]]], retain=True)
    beat = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 5)
    gateway.publish("ack", [beat[6], 0, NOW])
    assert gateway.wait(lambda channel, value: channel == "hb" and len(value) == 5)[4] == 7
    assert host.installed == ["kws"]


def test_a_broker_killed_and_restarted(host, gateway, broker):
    gateway.wait(lambda channel, value: channel == "hb")
    broker.kill()
    broker.start()
    gateway.ready.get(timeout=DEADLINE_S)
    assert gateway.wait(lambda channel, value: channel == "hb")[0] == host.agent.tag


def test_a_link_that_breaks_while_measure_takes_its_time(host, gateway):
    cut = []

    def measure(agent):
        if len(cut) < 2:
            cut.append(host.client.socket().shutdown(socket.SHUT_RDWR))
            while host.client.is_connected():
                threading.Event().wait(0.01)
        agent.sample("load-average", len(cut) * 1.0)

    gateway.wait(lambda channel, value: channel == "hb")
    host.agent.measure = measure
    for sample in (1.0, 2.0):
        gateway.wait(lambda channel, value: channel == "hb" and value[2] and value[2][0] == sample)
    assert host.thread.is_alive()
    assert len(cut) == 2


class Raising(paho.Client):
    """Its calls raise at first, as paho's own do where the other thread closes the sockets in between."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.left = {"publish": 2, "subscribe": 1}

    def _raise(self, name):
        self.left[name] -= 1
        if self.left[name] >= 0:
            raise AttributeError("'NoneType' object has no attribute 'send'")

    def publish(self, *arguments):
        self._raise("publish")
        return super().publish(*arguments)

    def subscribe(self, *arguments):
        self._raise("subscribe")
        return super().subscribe(*arguments)


def test_a_client_that_raises_ends_neither_the_port_nor_its_own_thread(broker, gateway, monkeypatch):
    monkeypatch.setattr("device_sdk.port_paho.RETRY", 0.1)
    host = Host(broker.port, False, Raising)
    try:
        gateway.wait(lambda channel, value: channel == "hb")
        assert host.client.left["publish"] < 0
        host.client.socket().shutdown(socket.SHUT_RDWR)  # the next connection is subscribed
        gateway.publish("plan", [7, [["deploy-7", 0, [["kws", 1]]]]], retain=True)
        gateway.wait(lambda channel, value: channel == "hb" and len(value) > 5)
    finally:
        host.close()


def test_each_heartbeat_is_dated_by_the_clock_that_was_set_meanwhile(host, gateway):
    for set_by in (300, 100):
        gateway.wait(lambda channel, value: channel == "hb")
        host.port._clock = lambda set_by=set_by: int(time.time()) + set_by
        due = time.time() + set_by - host.agent.epoch
        gateway.wait(lambda channel, value, due=due: channel == "hb" and abs(value[1] - due) < 20)


def test_the_uptime_of_a_host_goes_on_while_it_is_suspended(monkeypatch):
    clocks = {time.CLOCK_BOOTTIME: 5000.5}
    monkeypatch.setattr("device_sdk.host._time.clock_gettime", lambda clock: clocks[clock])
    port = PahoPort(Agent(LAYOUT), paho.Client(paho.CallbackAPIVersion.VERSION2), "fleet-a", "dev-1")
    before = board_time.ticks_ms()
    clocks[time.CLOCK_BOOTTIME] += 3600
    assert port.uptime() == 3600
    assert board_time.ticks_ms() - before == 3600_000


def test_a_clock_that_raises_ends_nothing(host, gateway):
    def broken():
        raise OSError(5)

    gateway.wait(lambda channel, value: channel == "hb")
    host.port._clock = broken
    for _ in range(3):
        gateway.wait(lambda channel, value: channel == "hb")
    assert host.agent.error.args == (5,)


def test_a_host_says_in_words_what_happens(broker, gateway):
    lines = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "host")
    client.reconnect_delay_set(1, 1)
    agent = Agent(LAYOUT, print, print, lambda agent: agent.sample("load", 1), interval=1, max_payload=None)
    port = PahoPort(agent, client, "fleet-a", "dev-1", log=lines.put)
    broker.kill()
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    try:
        said = [line_of(port, lines) for _ in range(2)]
        assert "sample('load'): the layout has no such metric, it has: load-average" in said
        assert [line for line in said if line.startswith("not connected: nothing listens there")]
        broker.start()
        gateway.subscribed()
        assert [line_of(port, lines) for _ in range(3)] == [
            "connected",
            "the broker has confirmed the hello",
            "the broker confirms heartbeats: one each 1 s",
        ]
    finally:
        client.disconnect()
        client.loop_stop()


def line_of(port, lines):
    deadline = time.monotonic() + DEADLINE_S
    while lines.empty():
        assert time.monotonic() < deadline
        port.step(0.1)
    return lines.get()


def test_without_a_log_a_failed_attempt_is_a_warning_once(broker, caplog):
    broker.kill()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "host")
    client.reconnect_delay_set(0.1, 0.1)
    attempts = []
    client.on_pre_connect = lambda *_: attempts.append(1)
    port = PahoPort(Agent(LAYOUT), client, "fleet-a", "dev-1")
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(attempts) < 4:
            assert time.monotonic() < deadline
            port.step(0.1)
    finally:
        client.disconnect()
        client.loop_stop()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("device_sdk", "WARNING")
    assert record.message == str(port.error)
    assert record.message.startswith("not connected: nothing listens there")


class Noting(paho.Client):
    """Keeps what it was told to subscribe to."""

    def subscribe(self, topics):
        self.topics.put(topics)
        return super().subscribe(topics)


def test_without_install_it_subscribes_to_acks_alone(broker):
    client = Noting(paho.CallbackAPIVersion.VERSION2, "host")
    client.topics = queue.Queue()
    PahoPort(Agent(LAYOUT), client, "fleet-a", "dev-1")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert client.topics.get(timeout=DEADLINE_S) == [("edge/fleet-a/dev-1/ack", 1)]
    finally:
        client.disconnect()
        client.loop_stop()
