"""What a board says with `log=print` beside a broker, gateway and Edge Manager: from "not registered" to a result."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.testbed import Testbed, gateway_before
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


@pytest.fixture(params=["cpython", "micropython"])
def said(request: pytest.FixtureRequest, testbed: Testbed, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Runs the program, and reads what it has said."""
    command = [sys.executable, "-u"] if request.param == "cpython" else [program("micropython")]
    at = testbed.broker.address
    password = testbed.broker.add_user(f"{testbed.fleet}/d").password
    folder = tmp_path / "flash"
    folder.mkdir()
    line = [*command, "-c", PROGRAM, at.host, testbed.fleet, password, str(at.device_port)]
    if request.param == "micropython":
        (folder / "main.py").write_text(PROGRAM)
        line[1:3] = ["main.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}
    with ExitStack() as started, (folder / "log").open("w") as log:
        started.enter_context(running(line, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT))
        yield lambda: (folder / "log").read_text().splitlines()


def test_from_not_registered_to_results(
    said: Callable[[], list[str]], testbed: Testbed, manager: Manager, tmp_path: Path
) -> None:
    def until_said(text: str) -> None:
        until(lambda: any(text in line for line in said()), lambda: "\n".join(said()))

    gateway = gateway_before(manager, testbed)
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
