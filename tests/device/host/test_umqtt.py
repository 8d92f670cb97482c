"""The port over a client of umqtt's form, on MicroPython, against a real broker that dies in between."""

import os
import subprocess

import pytest

from tests.support.paths import DEVICE_TESTS, ROOT
from tests.support.processes import running

from .conftest import last_line

NOW = 1795458600
PLAN = [7, [["deploy-7", 0, [["kws", 1]]]]]


@pytest.fixture
def device(micropython, broker, tmp_path):
    command = [micropython, "-X", "heapsize=256k", str(DEVICE_TESTS / "live.py"), str(broker.port), "umqtt", "state"]
    environment = {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(command, cwd=tmp_path, env=environment, **pipes) as process:
        yield process


def has_result(channel, value):
    return channel == "hb" and len(value) > 5


def test_a_result_survives_the_end_of_a_broker(device, gateway, broker):
    gateway.wait(lambda channel, value: channel == "hello")
    gateway.publish("plan", PLAN, retain=True)
    seq = gateway.wait(has_result)[6]
    broker.kill()
    broker.start()
    gateway.subscribed()
    assert gateway.wait(has_result)[6] == seq
    gateway.publish("ack", [seq, 0, NOW])
    assert last_line(device) == {"have": 7, "installed": ["kws"], "bad": 0}
