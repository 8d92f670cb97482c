"""A broker that is killed, stopped and frozen under a running agent, the real gateway and the real manager.

However often a DeploymentResult was sent, the manager has each once; no heartbeat that was acked is missing.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.testbed import Testbed, gateway_before
from tests.support.manager_process import Manager
from tests.support.sdk_device import SdkDevice, running

ROUNDS = int(os.environ.get("SDK_ROUNDS", "1"))
"""Of each kind of death; 50 deaths in all are 17."""


def acked(device: SdkDevice, name: str) -> int:
    """Wait for the ack of that result; how many heartbeats were written until then."""
    while (said := device.next("acked", 29.0))["acked"] != name:
        pass
    return int(said["beats"])


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
    arguments = [str(own_mosquitto.address.device_port), "restless", json.dumps(options)]
    with running(name, "live.py", *arguments, folder=tmp_path) as device:
        names = [f"deploy-{number}" for number in range(ROUNDS * 3)]
        for number, deployment in enumerate(names):
            manager.run("deploy", own_testbed.fleet, "d", f"kws={file}", "--name", deployment)
            time.sleep(dice.random())  # the moment at which the broker dies is the one thing that must be random
            (killed, stopped, frozen)[number % 3](own_mosquitto)
            beats = acked(device, deployment)
    report = manager.state_of(own_testbed.fleet)
    assert sorted(each["result"]["DeploymentName"] for each in report["results"]) == sorted(names)
    assert {each["result"]["DeploymentStatus"] for each in report["results"]} == {"SUCCESS"}
    newest = {metric["name"]: metric["value"] for metric in report["metrics"]}["rssi"]
    assert newest >= beats - 1, "a heartbeat after the one that was acked may be under way, none before it is missing"
