"""The console of a `serve` process: its address, its port, how it is left out; and the commands about its users."""

import json
import signal
import socket
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.manager import ManagerError
from gateway.manager.cli import app
from gateway.manager.console import server
from tests.contract.console.conftest import PASSWORD, Serve
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager


def test_serve_says_where_its_console_is(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "data")
    try:
        manager.start()
        assert manager.console is not None
        with urllib.request.urlopen(manager.console, timeout=DEADLINE_S) as answer:
            assert b"No user was made:" in answer.read()
        assert manager.end(signal.SIGTERM) == 0
    finally:
        manager.stop()


def test_serve_without_a_console(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "data", ["--no-console"])
    try:
        manager.start()
        assert manager.console is None
        assert manager.page("/healthz") == 200
    finally:
        manager.stop()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--console-port", "70000"), "--console-port 70000 is not a port"),
        (("--trust-role", "root"), "--trust-role 'root' is none"),
    ],
)
def test_a_console_that_cannot_be_is_one_line(command: Any, words: tuple[str, ...], text: str) -> None:
    shown = command("serve", "--port", "0", *words, status=2)
    assert text in shown
    assert shown.count("\n") == 1


async def test_a_port_that_is_taken(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody asked for that port, devices are served all the same."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(ManagerError) as caught:
            await serve(port=port)
        assert "--console-port" in str(caught.value)
        monkeypatch.setattr(server, "PORT", port)
        assert (await serve(port=None)).url == ""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command; its output."""
    monkeypatch.setenv("EDGE_MANAGER_DATA", str(tmp_path))

    def run(*words: str, typed: str = "", status: int = 0) -> str:
        done = CliRunner().invoke(app, words, input=typed)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    return run


def test_a_user_from_add_to_remove(command: Any, tmp_path: Path) -> None:
    assert command("users", "add", "alice", "--role", "admin", "--create", typed=f"{PASSWORD}\n") == "alice: admin\n"
    assert (tmp_path / "manager.sqlite3").stat().st_mode & 0o777 == 0o600
    [user] = json.loads(command("users", "list", "--json"))
    assert (user["UserName"], user["Role"]) == ("alice", "admin")
    assert "sessions ended" in command("users", "password", "alice", typed="another password\r\n")
    assert command("users", "remove", "alice") == "alice removed\n"
    assert "alice  admin  2" in command("users", "list")
    rows = json.loads(command("audit", "--json"))
    assert [(each["action"], each["resource"]) for each in rows] == [
        ("edge-manager:CreateUser", "user/alice"),
        ("edge-manager:ChangePassword", "user/alice"),
        ("edge-manager:DeleteUser", "user/alice"),
    ]
    assert "scrypt" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("words", "typed", "text"),
    [
        (("add", "a b", "--role", "admin"), PASSWORD, "the name 'a b' is none of a user"),
        (("add", "alice", "--role", "root"), PASSWORD, "the role 'root' is none of a user: should be viewer, operator"),
        (("add", "alice", "--role", "admin"), "short", "the password has 5 characters: should be 12 or more"),
        (("add", "alice", "--role", "admin"), "", "no password: type it at the prompt"),
        (("password", "alice"), PASSWORD, "there is no user alice"),
        (("remove", "alice"), "", "there is no user alice"),
    ],
)
def test_a_mistake_is_one_line(command: Any, words: tuple[str, ...], typed: str, text: str) -> None:
    command("keys", "add", "--role", "viewer", "--create")
    shown = command("users", *words, typed=typed, status=2)
    assert text in shown
    assert shown.count("\n") == 1
