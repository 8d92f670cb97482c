"""A broker that is killed, stopped and frozen under a running agent, the real gateway and the real manager.

However often a DeploymentResult was sent, the manager has each once; no heartbeat that was acked is missing.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.testbed import Testbed, gateway_before
from tests.support import processes
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.processes import line

ROUNDS = int(os.environ.get("SDK_ROUNDS", "1"))
"""Of each kind of death; 50 deaths in all are 17."""


def runtime(name: str) -> list[str]:
    """The command of that runtime."""
    if name == "cpython":
        return [sys.executable]
    return [program("micropython"), "-X", "heapsize=256k"]


class Device:
    """tests/device/live.py as a process; `acked` are the results of which it knows that the cloud has them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def acked(self, name: str) -> int:
        """Wait for the ack of that result; how many heartbeats were written until then."""
        while text := line(self._process, f"ack of {name}", 29.0):
            said = json.loads(text)
            if said["acked"] == name:
                return int(said["beats"])
        raise AssertionError(f"the device ended, with status {self._process.wait(DEADLINE_S)}")


@contextmanager
def running(command: list[str], port: int, options: dict[str, str], folder: Path) -> Iterator[Device]:
    words = [*command, str(ROOT / "tests/device/live.py"), str(port), "restless", json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}
    with processes.running(words, stdout=subprocess.PIPE, env=environment, cwd=folder) as process:
        yield Device(process)


def killed(broker: Mosquitto) -> None:
    broker.kill()
    broker.start()


def stopped(broker: Mosquitto) -> None:
    broker.stop()
    broker.start()


def frozen(broker: Mosquitto) -> None:
    """For longer than the device's deadline."""
    os.kill(broker.pid, signal.SIGSTOP)
    time.sleep(1.3)
    os.kill(broker.pid, signal.SIGCONT)


@pytest.mark.parametrize("name", ["cpython", "micropython"])
def test_every_result_is_recorded_however_often_the_broker_ends(
    name: str,
    own_testbed: Testbed,
    own_mosquitto: Mosquitto,
    manager: Manager,
    tmp_path: Path,
) -> None:
    file = tmp_path / "kws.tflite"
    file.write_bytes(b"model")
    dice = random.Random(1)
    manager.run("register", own_testbed.fleet, "d")
    gateway_before(manager, own_testbed)
    credentials = own_mosquitto.add_user(f"{own_testbed.fleet}/d")
    options = {"fleet": own_testbed.fleet, "password": credentials.password, "state": str(tmp_path / "state")}
    with running(runtime(name), own_mosquitto.address.device_port, options, tmp_path) as device:
        names = [f"deploy-{number}" for number in range(ROUNDS * 3)]
        for number, deployment in enumerate(names):
            manager.run("deploy", own_testbed.fleet, "d", f"kws={file}", "--name", deployment)
            time.sleep(dice.random())  # the moment at which the broker dies is the one thing that must be random
            (killed, stopped, frozen)[number % 3](own_mosquitto)
            beats = device.acked(deployment)
    report = manager.state_of(own_testbed.fleet)
    assert sorted(each["result"]["DeploymentName"] for each in report["results"]) == sorted(names)
    assert {each["result"]["DeploymentStatus"] for each in report["results"]} == {"SUCCESS"}
    newest = {metric["name"]: metric["value"] for metric in report["metrics"]}["rssi"]
    assert newest >= beats - 1, "a heartbeat after the one that was acked may be under way, none before it is missing"
