"""The commands as an operator types them, while the service runs."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.manager.cli import app
from tests.support.manager_process import Manager


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "kws.tflite"
    path.write_bytes(b"a model")
    return path


DEPLOYING = ("deploy", "undeploy", "undo", "pause", "resume", "abort", "deployments")


def definitions_of(manager: Manager, fleet: str, device: str) -> list[tuple[str, str]]:
    plans = manager.client("sagemaker-edge").get_deployments(DeviceFleetName=fleet, DeviceName=device)["Deployments"]
    return [(each["ModelHandle"], each["State"]) for plan in plans for each in plan["Definitions"]]


def test_from_registering_to_deregistering(manager: Manager, model: Path) -> None:
    assert manager.run("register", "lab", "one", "two").stdout == "lab/one registered\nlab/two registered\n"
    assert "was registered already" in manager.run("register", "lab", "one").stdout
    assert [each["device"] for each in json.loads(manager.run("devices", "lab", "--json").stdout)] == ["one", "two"]
    shown = manager.run(
        "deploy", "lab", "--all", f"kws={model}", f"vad={model}", "--name", "first", "--model-version", "1.2"
    ).stdout
    for text in ("lab", "first", "kws 1.2, vad 1.2", "running", "s3://models/kws/", "DEPLOY", "100%"):
        assert text in shown
    assert definitions_of(manager, "lab", "two") == [("kws", "DEPLOY"), ("vad", "DEPLOY")]
    assert "UNDEPLOY" in manager.run("undeploy", "lab", "two", "kws").stdout
    assert definitions_of(manager, "lab", "two") == [("vad", "DEPLOY"), ("kws", "UNDEPLOY")]
    assert definitions_of(manager, "lab", "one") == [("kws", "DEPLOY"), ("vad", "DEPLOY")]
    rows = json.loads(manager.run("deployments", "lab", "--devices", "--json").stdout)
    assert [(row["device"], row["DeploymentName"]) for row in rows][:2] == [("lab/one", "first"), ("lab/two", "first")]
    assert [row["Definitions"][0]["Size"] for row in rows] == [7, 7, None]
    assert [row["Definitions"][0]["Version"] for row in rows] == ["1.2", "1.2", None]
    status = json.loads(manager.run("status", "lab", "--json").stdout)
    assert status[0]["deployments"][0]["Definitions"][0]["Version"] == "1.2"
    assert manager.run("deregister", "lab", "one").stdout == "lab/one deregistered\n"
    assert "lab/one" not in manager.run("devices", "lab").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["register", "a_", "d"], "FLEET 'a_' is not allowed: should be 1 to 63 characters: letters, digits, - and _"),
        (["register", "f", "d", "x" * 64], "xxx' is not allowed: should be 1 to 63 characters"),
        (
            ["deploy", "f", "d", "wake_word=x"],
            "HANDLE 'wake_word' is not allowed: should be 1 to 63 characters: letters,",
        ),
        (["deploy", "f", "d", "a=x", "--name", "my name"], "--name 'my name' is not allowed: should be 1 to 63"),
        (["undeploy", "f", "d", "wake_word"], "HANDLE 'wake_word' is not allowed: should be 1 to 63 characters"),
        (["undeploy", "f", "nobody", "kws"], "nobody is not registered in fleet f: `manager devices` lists all"),
        (["deploy", "f", "d", "a=x", "--stages", "1%,100%", "--wait", "5"], "--wait '5' is not a time with its unit"),
        (["deregister", "f", "nobody"], "Device with name nobody in fleet f does not exist"),
        (["deploy", "f", "d", "kws=/no/such/file"], "/no/such/file: No such file or directory; correct the path"),
        (["deploy", "f", "d"], "give at least one HANDLE=FILE"),
        (["deploy", "f", "d", "kws="], "kws= names no file"),
        (["deploy", "f", "--all", "a=b", "--stages", "10%,5%"], "stages grow, and the last one is 100%"),
        (["pause", "f", "none"], "fleet f has no deployment named none"),
        (["undeploy", "f", "d", "none"], "d has no none to undeploy"),
        (["undeploy", "nofleet", "--all", "kws"], "fleet nofleet has no device"),
        (["devices", "nofleet"], "fleet nofleet has no device: `manager devices` lists all"),
        (["deployments", "nofleet"], "fleet nofleet has no device"),
        (["status", "nofleet"], "fleet nofleet has no device"),
        (["register", "f"], "name the devices, or give --file; not both"),
        (["register", "f", "d", "--file", "-"], "name the devices, or give --file; not both"),
        (["register", "f", "--file", "/no/such/file"], "/no/such/file: No such file or directory"),
        (["status", "f", "--state", "lost"], "--state 'lost' is none: should be connected, asleep, silent, gone"),
        (["status", "--after", "d"], "--after 'd' is in no fleet: name the FLEET, or give FLEET/DEVICE"),
        (["status", "f", "--after", "g/d"], "--after 'g/d' is not in fleet f"),
        (["status", "--summary", "--limit", "3"], "--summary counts whole fleets"),
        (["log", "f", "nobody"], "nobody is not registered in fleet f"),
        (["serve", "--access-key", "A"], "signatures need both"),
        (["serve", "--port", "70000"], "port 70000"),
        (["serve", "--secret-key-file", "/no/such/file"], "No such file or directory"),
    ],
)
def test_an_error_is_one_line_and_status_2(manager: Manager, arguments: list[str], message: str) -> None:
    done = manager.run(*arguments, status=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["register", "f", "d"],
        ["deregister", "f", "d"],
        ["devices"],
        ["deploy", "f", "d", "kws=file"],
        ["undeploy", "f", "d", "kws"],
        ["deployments"],
        ["status"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_only_serve_makes_the_data_directory(manager: Manager, arguments: list[str], tmp_path: Path) -> None:
    done = manager.run(*arguments, "--data", str(tmp_path / "other"), status=2)
    assert f"no Edge Manager data in {tmp_path / 'other'}: --data or EDGE_MANAGER_DATA" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_come_from_a_file(manager: Manager, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\r\n\n  two\nthree\n", encoding="utf-8-sig")
    said = manager.run("register", "listed", "--file", str(names)).stdout
    assert said == "listed: 3 registered, 0 were registered already\n"
    names.write_text("three\nfour\n")
    said = manager.run("register", "listed", "--file", str(names)).stdout
    assert said == "listed: 1 registered, 1 were registered already\n"
    listed = json.loads(manager.run("devices", "listed", "--json").stdout)
    assert [each["device"] for each in listed] == ["four", "one", "three", "two"]
    names.write_text("five\nsix\n\nse ven\n")
    said = manager.run("register", "listed", "--file", str(names), status=2).stderr
    assert f"{names}, line 4: DEVICE 'se ven' is not allowed: should be 1 to 63 characters" in said
    names.write_bytes(b"\xff\xfe")
    assert "is not text in UTF-8" in manager.run("register", "listed", "--file", str(names), status=2).stderr
    assert len(json.loads(manager.run("devices", "listed", "--json").stdout)) == 4


def test_status_in_pages(manager: Manager) -> None:
    manager.run("register", "paged", "a", "b", "c")
    shown = manager.run("status", "paged", "--limit", "1", "--state", "never-heard").stdout.splitlines()
    assert shown[-1] == "2 more: status paged --state 'never heard' --limit 1 --after a"
    shown = manager.run("status", "paged", "--limit", "2", "--after", "a").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["Device", "paged/b", "paged/c"]
    assert manager.run("status", "paged").stdout.startswith("3 devices: 3 never heard, 0 failing\nDevice")
    assert [each["device"] for each in json.loads(manager.run("status", "paged", "--json").stdout)] == ["a", "b", "c"]
    assert manager.run("status", "paged", "--json", "--state", "gone").stdout == "[]\n"
    (summary,) = json.loads(manager.run("status", "paged", "--summary", "--json").stdout)
    assert summary == {"fleet": "paged", "devices": 3, "states": {"never heard": 3}, "failing": 0, "models": []}


def test_the_log_of_a_device_is_words(manager: Manager, model: Path) -> None:
    manager.run("register", "logged", "d")
    manager.run("deploy", "logged", "d", f"kws={model}", "--name", "first")
    assert "first assigned" in manager.run("log", "logged", "d").stdout
    (entry,) = json.loads(manager.run("log", "logged", "d", "--json").stdout)
    assert (entry["kind"], entry["detail"]) == ("plan", {"change": "assigned", "deployment": "first"})


def test_a_password_in_a_url_is_never_shown(manager: Manager) -> None:
    away = "postgresql://me:geheim@127.0.0.1:1/none"
    for url, status in ((away, 1), ("mysql://me:geheim@host/none", 2), ("me:geheim@host", 2)):
        done = manager.run("devices", "--database", url, status=status)
        assert done.stderr.count("\n") == 1
        assert "geheim" not in done.stdout + done.stderr


def test_an_address_in_use_is_an_error(manager: Manager, tmp_path: Path) -> None:
    port = manager.url.rpartition(":")[2]
    other = manager.run("serve", "--port", port, "--data", str(tmp_path / "other"), status=2).stderr
    assert f"127.0.0.1:{port}: address already in use; end the process that listens there" in other


def test_a_second_undo_says_that_nothing_is_left(manager: Manager, model: Path) -> None:
    manager.run("register", "undo", "one")
    manager.run("deploy", "undo", "one", f"kws={model}", "--name", "first")
    assert "aborted" in manager.run("undo", "undo", "first").stdout
    said = "nothing to undo: no device has first; `deployments undo --devices` shows what each device has\n"
    assert manager.run("undo", "undo", "first").stdout == said


def test_a_second_manager_with_the_same_data_says_that_one_serves_it(manager: Manager) -> None:
    said = manager.run("serve", "--port", "0", status=2).stderr
    assert re.search(r"an Edge Manager serves \S+ \(process \d+ on \S+\): stop it, or give another --data\n$", said)


@pytest.mark.parametrize("command", ["serve", "register", "deregister", "devices", "status", "log", *DEPLOYING])
def test_every_command_says_what_it_does(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert (shown.exit_code, len(shown.output) > 100) == (0, True)
