"""A board with the file that `devices add` made: it connects by password or certificate, on MicroPython and CPython."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.support.arrivals import DEADLINE_S
from tests.support.mqtt_client import Client
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.processes import end
from tests.support.site import SiteBroker, devices

SEARCHED = f"{ROOT}{os.pathsep}{ROOT}/device_sdk/examples"
RUN = "import sys, provisioned; provisioned.main(sys.argv[1])"
UNTIL_ERROR = """
import sys, provisioned
from device_sdk.agent import Agent
port = provisioned.port(Agent(provisioned.LAYOUT), provisioned.read(sys.argv[1]))
while not port.error:
    port.step(100)
print(port.error)
"""

Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture(params=["cpython", "micropython"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Runs a script with the example on its path, under either runtime, and ends it."""
    if request.param == "cpython":
        command, path = sys.executable, {"PYTHONPATH": SEARCHED}
    else:
        command, path = program("micropython"), {"MICROPYPATH": f"{SEARCHED}{os.pathsep}.frozen"}
    started: list[subprocess.Popen[str]] = []

    def run(script: str, board: Path) -> "subprocess.Popen[str]":
        file = tmp_path / "script.py"
        file.write_text(script)
        line = [command, str(file), str(board)]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(line, **pipes, text=True, env=os.environ | path, cwd=tmp_path))
        return started[-1]

    yield run
    for process in started:
        end(process)


def provision(site: SiteBroker, kind: str, name: str) -> Path:
    options = ["--certificate"] if kind == "certificate" else []
    site.add("fleet-b", name, "--broker", f"mqtts://localhost:{site.ports[kind]}", *options)
    return site.site / "devices" / f"fleet-b.{name}.json"


@pytest.fixture
def gateway_client(site: SiteBroker) -> Iterator[Client]:
    with site.login_of("gateway", "gateway").connected("another-gateway", MQTTProtocolVersion.MQTTv5) as client:
        client.subscribe("edge/+/+/hb")
        yield client


@pytest.mark.parametrize("kind", ["password", "certificate"])
def test_a_board_connects_by_its_file_alone(site: SiteBroker, gateway_client: Client, start: Start, kind: str) -> None:
    start(RUN, provision(site, kind, f"board-{kind}"))
    topic, payload = gateway_client.next()
    assert topic == f"edge/fleet-b/board-{kind}/hb"
    assert payload[0] & 0xF0 == 0x90  # an array of msgpack


@pytest.mark.parametrize("kind", ["password", "certificate"])
def test_a_board_sends_nothing_to_a_broker_of_another_authority(
    site: SiteBroker, start: Start, tmp_path: Path, kind: str
) -> None:
    other = tmp_path / "other"
    devices(other, "init", "localhost")
    options = ["--certificate"] if kind == "certificate" else []
    url = f"mqtts://localhost:{site.ports[kind]}"
    assert devices(other, "add", "fleet-b", "lost", "--broker", url, *options).exit_code == 0
    output, _ = start(UNTIL_ERROR, other / "devices" / "fleet-b.lost.json").communicate(timeout=DEADLINE_S)
    assert "CERT" in output.upper()
