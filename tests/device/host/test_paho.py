"""The port for paho: the same agent on a host's own client, against a real broker and an acting gateway."""

import threading

import paho.mqtt.client as paho
import pytest

from device_sdk.agent import Agent
from device_sdk.port_paho import PahoPort

LAYOUT = ["1.0.0", [["sys", "load-average"]], []]
NOW = 1795458600


class Host:
    """An agent in a thread of its own, as a user's program would run it."""

    def __init__(self, port: int, connect_first: bool) -> None:
        self.installed: list[str] = []
        self.agent = Agent(
            LAYOUT,
            install=lambda definition: self.installed.append(definition.handle),
            remove=lambda definition: self.installed.remove(definition.handle),
            measure=lambda agent: agent.sample("load-average", 0.5),
            interval=1,
            max_payload=None,
        )
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "host")
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
        self.thread.join(10)
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
    gateway.ready.get(timeout=20)
    assert gateway.wait(lambda channel, value: channel == "hb")[0] == host.agent.tag
