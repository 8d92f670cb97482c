"""The commands `keys` and `audit`, and the rows of the audit that the others write, on a database without a `serve`."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.lock import FolderLock
from gateway.manager import Place
from gateway.manager.cli import app
from gateway.manager.store import local_address


@pytest.fixture
def command(place: Place, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on a database that there is; its output."""
    monkeypatch.setenv("EDGE_MANAGER_DATA", str(place.data))
    if place.url is not None:
        monkeypatch.setenv("EDGE_MANAGER_DATABASE", place.url)

    def run(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    run("keys", "add", "--role", "viewer", "--description", "first", "--create")
    return run


def listed(command: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("keys", "list", "--json"))
    return found


def test_a_key_from_add_to_revoke(command: Any) -> None:
    [made] = json.loads(command("keys", "add", "--role", "operator", "--json"))
    secret = made.pop("SecretAccessKey")
    first, second = listed(command)
    assert (first["Role"], first["Description"]) == ("viewer", "first")
    assert second == made
    assert command("keys", "revoke", made["AccessKeyId"]) == f"{made['AccessKeyId']} revoked\n"
    assert "RevocationTime" in listed(command)[1]
    for shown in (command("keys", "list"), command("audit"), command("audit", "--json")):
        assert made["AccessKeyId"] in shown
        assert secret not in shown


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("keys", "add", "--role", "root"), "the role 'root' is not one: gateway, viewer, operator, admin"),
        (("keys", "revoke", "NOBODY"), "there is no access key NOBODY"),
        (("audit", "--since", "yesterday"), "--since 'yesterday' is no time"),
    ],
)
def test_a_mistake_is_one_line(command: Any, words: tuple[str, ...], text: str) -> None:
    shown = command(*words, status=2)
    assert text in shown
    assert shown.count("\n") == 1


def test_a_file_of_credentials(command: Any, tmp_path: Path) -> None:
    """Made once; again where another process serves the folder; refused where its key is not valid any more."""
    file = tmp_path / "credentials"
    add = ("keys", "add", "--role", "gateway", "--create", "--credentials", str(file))
    assert "written to" in command(*add)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = listed(command)[-1]["AccessKeyId"]
    assert file.read_text().splitlines()[:2] == ["[default]", f"aws_access_key_id = {key}"]
    before = file.read_bytes()
    lock = FolderLock(tmp_path)
    assert "no other one is made" in command(*add)
    lock.close()
    assert file.read_bytes() == before
    command("keys", "revoke", key)
    assert "has no valid key" in command(*add, status=2)
    assert [each.name for each in tmp_path.glob(".credentials*")] == []


def test_nobody_else_reads_a_sqlite_file_with_secrets(command: Any, place: Place) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.data.glob("manager.sqlite3*")}
    assert set(modes.values()) <= {0o600}
    assert (not modes) is (place.url is not None)


def test_each_change_by_a_command_is_a_row(command: Any, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"a model")
    command("register", "f", "d", "e")
    command("register", "f", "d")
    command("deregister", "f", "e")
    command("deploy", "f", "d", f"kws={model}", "--name", "one")
    command("pause", "f", "one")
    command("resume", "f", "one")
    command("abort", "f", "one")
    command("abort", "f", "one", status=2)
    command("deploy", "f", "d", f"kws={model}", "--name", "two")
    command("undo", "f", "two")
    command("deploy", "f", "d", f"kws={model}", "--name", "three")
    command("undeploy", "f", "d", "kws", "--name", "four")
    key = listed(command)[0]["AccessKeyId"]
    command("keys", "revoke", key)
    rows = json.loads(command("audit", "--json"))[1:]
    assert {(each["key"], each["address"]) for each in rows} == {("", local_address())}
    deployment = "device-fleet/f/deployment"
    package = [each["resource"] for each in rows].pop(4)
    assert package.startswith("edge-packaging-job/kws-")
    assert sorted((each["action"].partition(":")[2], each["resource"]) for each in rows[:3]) == [
        ("AddDevices", "device-fleet/f"),
        ("AddDevices", "device-fleet/f/device/d"),
        ("AddDevices", "device-fleet/f/device/e"),
    ]
    assert [(each["action"].partition(":")[2], each["resource"]) for each in rows[3:]] == [
        ("DeregisterDevices", "device-fleet/f/device/e"),
        ("Deploy", package),
        ("Deploy", f"{deployment}/one"),
        ("PauseDeployment", f"{deployment}/one"),
        ("ResumeDeployment", f"{deployment}/one"),
        ("AbortDeployment", f"{deployment}/one"),
        ("Deploy", f"{deployment}/two"),
        ("UndoDeployment", f"{deployment}/two"),
        ("Deploy", f"{deployment}/three"),
        ("Undeploy", f"{deployment}/four"),
        ("RevokeAccessKey", f"access-key/{key}"),
    ]
    assert rows[3]["before"]["DeviceName"] == "e"
    assert (rows[6]["before"], rows[6]["after"]) == ({"State": "running"}, {"State": "paused"})
    assert rows[5]["after"]["Devices"] == 1
    assert json.loads(command("audit", "--resource", f"{deployment}/two", "--limit", "1", "--json")) == rows[-4:-3]
    assert "State: paused" in command("audit")
