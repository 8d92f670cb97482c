"""A board with the SDK beside a broker, gateway and Edge Manager: what it says with `log=print`, and announces."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.testbed import Testbed, gateway_before
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.processes import running

PROGRAM = """
import sys
from device_sdk.agent import Agent
from device_sdk.port import Port
def measure(agent):
    agent.sample("temperature", 213)
def install(definition):
    if definition.handle == "bad":
        raise ValueError("no room")
agent = Agent(["1.0.0", [["room", "temperature", -1]], []], install, print, measure, 1, files="")
port = Port(agent, sys.argv[1], sys.argv[2], "d", sys.argv[3], int(sys.argv[4]), log=print)
while True:
    if agent.code == 3:
        agent.due = min(agent.due, agent.now + 1)
    port.step(200)
"""


SLEEPER = """
import sys
from device_sdk.agent import Agent
from device_sdk.port import in_file
from device_sdk.port_board import BoardPort
agent = Agent(["1.0.0", [["room", "temperature", -1]], []], interval=int(sys.argv[5]), store=in_file("state"))
port = BoardPort(agent, sys.argv[1], sys.argv[2], "d", sys.argv[3], port=int(sys.argv[4]), live=True)
if agent.interval == 60:
    port.run()
while agent.busy or not agent.wait(port.now()):
    port.step(200)
port.sleep(600)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=["cpython", "micropython"])
def start(request: pytest.FixtureRequest, testbed: Testbed, tmp_path: Path) -> Iterator[Start]:
    """Runs a program of a device; what it prints is in the file log."""
    command = [sys.executable, "-u"] if request.param == "cpython" else [program("micropython")]
    at = testbed.broker.address
    password = testbed.broker.add_user(f"{testbed.fleet}/d").password
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}

    def run(source: str, *arguments: str) -> "subprocess.Popen[str]":
        (tmp_path / "main.py").write_text(source)
        line = [*command, "main.py", at.host, testbed.fleet, password, str(at.device_port), *arguments]
        log = started.enter_context((tmp_path / "log").open("w"))
        process = running(line, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
        return started.enter_context(process)

    with ExitStack() as started:
        yield run


def test_from_not_registered_to_results(start: Start, testbed: Testbed, manager: Manager, tmp_path: Path) -> None:
    def until_said(text: str) -> None:
        until(lambda: text in (tmp_path / "log").read_text(), (tmp_path / "log").read_text)

    gateway = gateway_before(manager, testbed)
    start(PROGRAM)
    until_said("is not registered at the Edge Manager: register it there; asked again in ")
    manager.run("register", testbed.fleet, "d")
    gateway.terminate()  # it would remember for a minute that the device is not registered
    gateway.start()
    until_said("the Edge Manager accepts the heartbeats: the device is registered")
    (tmp_path / "model").write_bytes(bytes(20_000))
    manager.run("deploy", testbed.fleet, "d", f"kws={tmp_path / 'model'}", "--name", "deploy-1")
    until_said("deployment deploy-1: deploy kws")
    until_said(" of 20000 bytes are here")
    until_said("kws: all 20000 bytes are here, the checksum is right")
    until_said("deployment deploy-1: SUCCESS")
    until_said("the result of deploy-1 is with the service")
    manager.run("deploy", testbed.fleet, "d", f"bad={tmp_path / 'model'}", "--name", "deploy-2")
    until_said("deployment deploy-2: FAIL: bad: no room")
    until_said("the result of deploy-2 is with the service")


def test_what_it_announces(start: Start, testbed: Testbed, manager: Manager, tmp_path: Path) -> None:
    def until_state(state: str) -> None:
        until(lambda: manager.state_of(testbed.fleet)["liveness"]["state"] == state, (tmp_path / "log").read_text)

    manager.run("register", testbed.fleet, "d")
    gateway_before(manager, testbed)
    board = start(SLEEPER, "60")
    until_state("connected")
    board.kill()
    until_state("gone")
    sleeper = start(SLEEPER, "600")
    until_state("asleep")
    assert sleeper.wait(DEADLINE_S) == 0
    assert manager.state_of(testbed.fleet)["liveness"]["seconds"] == 600
