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
        (["-V"], 0, "edge-gateway "),
        (["manager", "deploy", "-h"], 0, "--dry-run"),
        (["--help"], 0, "manager"),
        (["manager", "--help"], 0, "serve"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_version_help_and_unknown_commands(arguments: list[str], status: int, text: str) -> None:
    done = edge_gateway(*arguments)
    assert done.returncode == status
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [[], ["doctor"], ["manager", "keys", "add"], ["devices", "list"]])
def test_help_shows_no_type_of_a_flag(arguments: list[str]) -> None:
    shown = edge_gateway(*arguments, "--help", COLUMNS="80").stdout
    assert "-h" in shown
    assert "bool" not in shown.lower()


def test_a_shell_completes_the_commands_of_a_group() -> None:
    asked = {"_EDGE_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": "edge-gateway manager deplo", "COMP_CWORD": "2"}
    assert edge_gateway(**asked).stdout.split() == ["deploy", "deployments"]


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = {
        "aiohttp",
        "asyncio",
        "boto3",
        "botocore",
        "gateway.manager",
        "msgpack",
        "paho",
        "prometheus_client",
        "pydantic",
    }
    done = edge_gateway(code=f"import gateway.cli, sys; print(sorted({heavy} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


# As Kubernetes 1.31 sets them for Services called gateway, gateway-http and edge-manager.
LINKS = {
    "GATEWAY_SERVICE_HOST": "10.96.14.7",
    "GATEWAY_SERVICE_PORT": "8883",
    "GATEWAY_SERVICE_PORT_MQTTS": "8883",
    "GATEWAY_PORT": "tcp://10.96.14.7:8883",
    "GATEWAY_PORT_8883_TCP": "tcp://10.96.14.7:8883",
    "GATEWAY_PORT_8883_TCP_PROTO": "tcp",
    "GATEWAY_PORT_8883_TCP_PORT": "8883",
    "GATEWAY_PORT_8883_TCP_ADDR": "10.96.14.7",
    "GATEWAY_HTTP_SERVICE_HOST": "fd00::7",
    "GATEWAY_HTTP_PORT": "tcp://[fd00::7]:80",
    "EDGE_MANAGER_PORT": "tcp://10.96.14.8:9470",
}


@pytest.mark.parametrize("command", [("settings", "--json"), ("manager", "serve", "--registered-ttl", "-1")])
def test_kubernetes_service_links_are_passed_over_with_one_warning(command: tuple[str, ...]) -> None:
    done = edge_gateway(*command, **LINKS)
    warning, *more = done.stderr.splitlines()
    assert "enableServiceLinks: false" in json.loads(warning)["event"]
    assert json.loads(warning)["variables"] == sorted(LINKS)
    if command[0] == "settings":
        assert (done.returncode, more) == (0, [])
        assert json.loads(done.stdout)["http_port"] == {"value": 9464, "from": "default"}
    else:
        assert more == ["edge-gateway manager: --registered-ttl is -1: seconds, 0 or more"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "8883"),
        ("GATEWAY_SERVICE_HOST", "broker.example"),
        ("GATEWAY_HTTP_PORT", "tcp"),
        ("GATEWAY_MQTT_UR", "tcp://10.96.14.7:8883"),
    ],
)
def test_what_has_not_the_form_of_a_service_link_is_a_mistake(name: str, value: str) -> None:
    done = edge_gateway("settings", **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: ")


@pytest.mark.parametrize("arguments", [["settings"], ["devices", "--help"]])
@pytest.mark.parametrize("stdout", ["/dev/full", "a pipe without a reader"])
def test_output_that_cannot_be_written_is_status_1_without_a_traceback(arguments: list[str], stdout: str) -> None:
    if stdout == "/dev/full":
        target = os.open(stdout, os.O_WRONLY)
    else:
        reader, target = os.pipe()
        os.close(reader)
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(target)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) <= 1, done.stderr


@pytest.mark.parametrize("stderr", ["/dev/full", "a pipe without a reader"])
def test_mistakes_that_cannot_be_written_have_their_status(stderr: str) -> None:
    if stderr == "/dev/full":
        target = os.open(stderr, os.O_WRONLY)
    else:
        reader, target = os.pipe()
        os.close(reader)
    for arguments in (["run"], ["nonsense"], ["manager", "status"]):
        environment = os.environ | {"GATEWAY_INTAKE": "none", "EDGE_MANAGER_DATA": "/nowhere"}
        command = [sys.executable, "-m", "gateway", *arguments]
        assert subprocess.run(command, stderr=target, env=environment, timeout=60, check=False).returncode == 2
    os.close(target)
