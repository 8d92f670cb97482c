"""What is printed: nothing that a device said steers the terminal, and keys come from where they should."""

import io

import pytest
from rich.console import Console

from gateway.manager.cli.tables import status_table
from gateway.manager.errors import ManagerError, S3Error
from gateway.manager.http.signatures import Keys
from gateway.manager.process import SECRET, read_keys


def test_a_devices_text_is_only_text():
    message = "\x1b[31mred [bold]bold[/bold]\r\n\x07"
    report = {
        "fleet": "f", "device": "d", "registered": 1.0, "agent_version": None, "accepted": 0, "newest": None,
        "metrics": [], "models": [], "deployments": [],
        "results": [{"deployment": "x", "result": {"DeploymentStatusMessage": message}, "received": 1.0, "told": 1}],
    }  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=300).print(status_table([report]))
    assert "\ufffd[31mred [bold]bold[/bold]\ufffd\ufffd\ufffd" in out.getvalue()
    assert not {"\x1b", "\r", "\x07"} & set(out.getvalue())


def test_an_s3_refusal_is_xml_whatever_was_asked():
    assert "<Key>&lt;&amp;&gt;</Key>" in S3Error("NoSuchKey", "none", 404, {"Key": "<&>"}).body("id")


def test_keys_come_from_the_file_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(SECRET, "of the environment")
    assert read_keys("A", None) == Keys("A", "of the environment")
    (tmp_path / "key").write_text("of the file\n")
    assert read_keys("A", tmp_path / "key") == Keys("A", "of the file")


def test_without_keys_nothing_is_checked(monkeypatch):
    monkeypatch.delenv(SECRET, raising=False)
    assert read_keys(None, None) is None


@pytest.mark.parametrize(("access", "secret"), [("A", None), (None, "S"), ("", "S"), ("A", "")])
def test_half_a_pair_is_a_mistake(monkeypatch, access, secret):
    monkeypatch.delenv(SECRET, raising=False)
    if secret is not None:
        monkeypatch.setenv(SECRET, secret)
    with pytest.raises(ManagerError, match="both"):
        read_keys(access, None)
