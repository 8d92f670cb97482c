"""The command, run as a process of its own: exit status, streams, and which modules it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "hunter2-7f3a"


def edge_gateway(*arguments: str, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("GATEWAY_")}
    command = [sys.executable, *(("-c", code) if code else ("-m", "gateway")), *arguments]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", ["run", "settings"])
def test_mistakes_in_the_settings_go_to_stderr_one_a_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("rot = 1\nintake = 0\n")
    done = edge_gateway(command, "--config", str(path), GATEWAY_MQTT_URL=f"mqtt://gw:{SECRET}/@broker")
    assert (done.returncode, done.stdout) == (2, "")
    places = [line.removeprefix(f"{path}: ").split(":")[0] for line in done.stderr.splitlines()]
    assert places == ["rot", "GATEWAY_MQTT_URL", "intake"]
    assert SECRET not in done.stderr


def test_settings_as_json_have_value_and_place(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('fleets = ["a", "b"]\n')
    done = edge_gateway("settings", "--json", GATEWAY_CONFIG=str(path), GATEWAY_MQTT_URL=f"mqtts://gw:{SECRET}@broker")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert rows["fleets"] == {"value": ["a", "b"], "from": f"{path}: fleets"}
    assert rows["mqtt_url"] == {"value": "mqtts://gw:***@broker:8883", "from": "GATEWAY_MQTT_URL"}
    assert rows["intake"] == {"value": 10000, "from": "default"}


def test_settings_for_a_person_have_the_meaning_too() -> None:
    done = edge_gateway("settings", GATEWAY_INTAKE="5", GATEWAY_MQTT_URL=f"mqtts://gw:{SECRET}@broker")
    assert done.returncode == 0
    assert "intake = 5  (GATEWAY_INTAKE)\n    Unacknowledged messages at most" in done.stdout
    assert "group = none  (default)\n" in done.stdout
    assert SECRET not in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "settings"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "edge-gateway: No space left on device; make room on the disk\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--version"], 0, "edge-gateway "),
        (["--help"], 0, "manager"),
        (["manager", "--help"], 0, "serve"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_version_help_and_unknown_commands(arguments: list[str], status: int, text: str) -> None:
    done = edge_gateway(*arguments)
    assert done.returncode == status
    assert text in done.stdout + done.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "{'aiohttp', 'boto3', 'botocore', 'pydantic', 'paho', 'prometheus_client'}"
    done = edge_gateway(code=f"import gateway.cli, sys; print(sorted({heavy} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")
