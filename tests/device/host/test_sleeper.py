"""The example of a board that sleeps deeply, one program for each wake: it carries out plans first."""

import hashlib
import os
import subprocess
import sys
import time

import pytest

from tests.support.paths import ROOT
from tests.support.processes import running

from .test_pages import NETWORK

MODEL = bytes(range(256)) * 8
PLAN = [7, [["deploy-7", 0, [["kws", 1, hashlib.sha1(MODEL, usedforsecurity=False).digest(), len(MODEL)]]]]]
MACHINE = """
import sys
DEEPSLEEP_RESET = 4
class ADC:
    def __init__(self, pin): pass
    def read_uv(self): return 3300000
class RTC:
    def memory(self, data=None):
        if data is None:
            with open("rtc") as file:
                return file.read()
        with open("rtc", "w") as file:
            file.write(data)
def reset_cause():
    try:
        open("slept").close()
        return 4
    except OSError:
        return 1
def deepsleep(ms):
    open("slept", "w").close()
    sys.exit(0)
"""


@pytest.fixture(params=["cpython", "micropython"])
def wake(request, broker, tmp_path):
    """Starts the board's program; it ends when the board sleeps."""
    text = (ROOT / "device_sdk/examples/sleeper.py").read_text()
    names = '"broker.local", "fleet-a", "dev-000001", password="secret"'
    assert names in text
    text = text.replace(names, f'"127.0.0.1", "fleet-a", "dev-1", port={broker.port}')
    (tmp_path / "network.py").write_text(NETWORK)
    (tmp_path / "machine.py").write_text(MACHINE)
    path = f"{tmp_path}:{ROOT}"
    command = [sys.executable] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": path, "MICROPYPATH": f"{path}:.frozen"}

    def wake(awake=30):
        (tmp_path / "main.py").write_text(text.replace("AWAKE = 60", f"AWAKE = {awake}"))
        return running([*command, "main.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    return wake


def is_hb(channel, value):
    return channel == "hb"


def answer(gateway, read):
    digest, index, offset, length, count = [*read, 1][:5]
    for at in range(offset, min(offset + length * count, len(MODEL)), length):
        gateway.publish("block", [digest, index, at, len(MODEL), MODEL[at : at + length]])


def test_it_carries_out_a_plan_before_it_sleeps(wake, gateway, tmp_path):
    gateway.publish("plan", PLAN, retain=True)
    with wake() as board:
        while True:
            value = gateway.wait(lambda channel, value: channel == "read" or (channel == "hb" and len(value) > 5))
            if value[0] == 7:
                answer(gateway, value)
            else:
                break
        assert value[5][:2] == ["deploy-7", "SUCCESS"]
        assert board.poll() is None, "it slept before its result was acked"
        gateway.publish("ack", [value[6], 0, int(time.time())])
        assert board.wait(20) == 0
    assert (tmp_path / "kws").read_bytes() == MODEL
    with wake() as board:  # nothing is under way: it sleeps after its heartbeat
        assert gateway.wait(is_hb)[4:] == [7]
        assert board.wait(20) == 0


def test_a_wake_that_is_too_short_for_a_model_goes_on_at_the_next_one(wake, gateway):
    gateway.publish("plan", PLAN, retain=True)
    with wake(2) as board:
        offset, length = gateway.wait(lambda channel, value: channel == "read")[2:4]
        gateway.publish("block", [7, 0, offset, len(MODEL), MODEL[:length]])
        assert board.wait(20) == 0
    with wake() as board:
        read = gateway.wait(lambda channel, value: channel == "read")
        assert read[2] == length
