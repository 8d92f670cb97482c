"""A device of the SDK keeps its models where a new one fails: Mosquitto, gateway and Edge Manager as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.testbed import Testbed
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.manager_process import Manager
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.processes import line, running

DEVICE = """
import json, sys
from device_sdk.agent import Agent
from device_sdk.port import Port, in_file

host, port, fleet, password = sys.argv[1:]
calls = []

def install(definition):
    with open(definition.path, "rb") as file:
        text = file.read().decode()
    calls.append("+" + text)
    if text.startswith("bad"):
        raise ValueError("it does not run")

def remove(definition):
    calls.append("-" + definition.handle)

agent = Agent(["1.0.0", [], []], install, remove, interval=1, store=in_file("state"), files="")
board = Port(agent, host, fleet, "d", password, int(port))
last = None
while True:
    board.step(100)
    if agent.result and agent.result[0] != last:
        last = agent.result[0]
        print(json.dumps([agent.result[1:3], [list(row[4:7]) for row in agent.result[5]], calls]))
        if hasattr(sys.stdout, "flush"):
            sys.stdout.flush()
        calls.clear()
"""


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_rollback_gives_both_old_models_back(
    testbed: Testbed, manager: Manager, tmp_path: Path, runtime: str
) -> None:
    manager.run("register", testbed.fleet, "d")
    at = settings(testbed.broker.address, manager.url, testbed.fleet, testbed.state, plan_ttl=1)
    testbed.cleanup.enter_context(GatewayProcess(at | {"AWS_ENDPOINT_URL_S3": manager.url}))
    address = testbed.broker.address
    login = testbed.broker.add_user(f"{testbed.fleet}/d")
    board = tmp_path / "board"
    board.mkdir()
    (board / "device.py").write_text(DEVICE)
    command = sys.executable if runtime == "cpython" else program("micropython")
    path = {"PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}{os.pathsep}.frozen"}
    arguments = [command, "device.py", address.host, str(address.device_port), testbed.fleet, login.password]

    def deploy(name: str, kws: str, vad: str) -> None:
        files = {"kws": kws, "vad": vad}
        for handle, text in files.items():
            (tmp_path / f"{handle}.file").write_text(text)
        models = [f"{handle}={tmp_path / handle}.file" for handle in files]
        manager.run("deploy", testbed.fleet, "d", *models, "--name", name)

    with running(arguments, cwd=board, env=os.environ | path, stdout=subprocess.PIPE) as device:
        deploy("first", "kws 1", "vad 1")
        said = json.loads(line(device, "the first result"))
        assert said == [["SUCCESS", None], [[1, 1, None], [1, 1, None]], ["+kws 1", "+vad 1"]]
        deploy("second", "kws 2", "bad vad 2")
        said = json.loads(line(device, "the second result"))
        assert said == [
            ["FAIL", "vad: it does not run"],
            [[1, 0, "undone"], [1, 0, "it does not run"]],
            ["+kws 2", "+bad vad 2", "+vad 1", "+kws 1"],
        ]
        deploy("third", "kws 3", "vad 3")
        assert json.loads(line(device, "the third result"))[0] == ["SUCCESS", None]
    texts = {file.name: file.read_text() for file in board.iterdir() if file.name not in ("device.py", "state")}
    assert texts == {"kws": "kws 3", "vad": "vad 3"}
