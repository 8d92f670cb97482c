"""What a device announces of itself on `live`, against a real broker, on both runtimes and over paho."""

import os
import subprocess
import sys

import paho.mqtt.client as paho
import pytest

from device_sdk.agent import Agent
from device_sdk.port_paho import PahoPort
from tests.support.arrivals import DEADLINE_S
from tests.support.paths import DEVICE_TESTS, ROOT
from tests.support.processes import line, running


@pytest.fixture(params=["cpython", "micropython"])
def start(request, broker, tmp_path):
    """Starts there.py."""
    command = [sys.executable] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}

    def start(*arguments):
        whole = [*command, str(DEVICE_TESTS / "there.py"), str(broker.port), *arguments]
        return running(whole, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    return start


def is_live(channel, value):
    return channel == "live"


def test_a_device_that_is_killed_is_gone(start, gateway, broker):
    for _ in range(2):  # the second one finds the will of the first
        with start("0") as device:
            assert gateway.wait(lambda channel, value: channel == "live" and value != [0]) == [1, 1]
            gateway.wait(lambda channel, value: channel == "hb")
            device.kill()
            assert gateway.wait(is_live) == [0]


def test_a_sleeper_is_asleep_and_not_gone(start, gateway):
    with start("600") as device:
        assert gateway.wait(is_live) == [1, 600]
        assert gateway.wait(is_live) == [2, 600]
        assert device.wait(DEADLINE_S) == 0
    with start("600", "woke") as device:  # one message more for each wake
        heard = []
        assert gateway.wait(lambda channel, value: heard.append(channel) or channel == "live") == [2, 600]
        assert heard == ["hb", "live"]
        assert device.wait(DEADLINE_S) == 0


def test_a_sleeper_is_asleep_and_not_gone_where_messages_came_that_it_has_not_read(start, gateway):
    for _ in range(6):
        with start("600", "woke", "late") as device:
            assert line(device, "sign that the device is ready") == "ready\n"
            for _ in range(3):
                gateway.publish("ack", [9, 0, 1795458600])
            device.stdin.write("sleep\n")
            device.stdin.flush()
            assert device.wait(DEADLINE_S) == 0
        gateway.publish("end", [])
        heard = []
        gateway.wait(lambda channel, value: heard.append((channel, value)) or channel == "end")
        assert [value for channel, value in heard if channel == "live"] == [[2, 600]]


def test_a_broker_that_ends_hears_again_that_a_device_is_connected(start, gateway, broker):
    with start("0"):
        assert gateway.wait(is_live) == [1, 1]
        broker.kill()
        broker.start()
        gateway.subscribed()
        assert gateway.wait(is_live) == [1, 1]


@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311], ids=["5", "3.1.1"])
def test_a_host_over_paho(broker, gateway, protocol):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "host", protocol=protocol)
    port = PahoPort(Agent(["1.0.0", [["sys", "load"]], []], interval=60), client, "fleet-a", "dev-1", live=True)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert gateway.wait(is_live) == [1, 60]
        port.step()
        client.socket().shutdown(2)
        assert gateway.wait(is_live) == [0]
        assert gateway.wait(is_live) == [1, 60]
    finally:
        client.disconnect()
        client.loop_stop()
