"""What the demo does on a machine that lacks something, and which settings its parts get."""

import sys
from pathlib import Path

import pytest

from gateway.config.broker_url import BrokerUrl
from gateway.demo import kit
from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.stage import environment, gateway_settings, logged, tail


def test_what_a_machine_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    found = kit.find(tmp_path)
    assert [note.split(":")[0] for note in found.notes] == [
        "no micropython here (its wheels do not exist for every platform)",
        "pymicro_wakeword is not installed",
    ]
    assert not any(player.is_on_micropython for player in found.players)
    assert found.handle == "stand-in"
    assert found.model.stat().st_size == kit.STAND_IN_BYTES


def test_micropython_without_its_compiler_is_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "micropython").write_text("#!/bin/sh\n")
    (tmp_path / "micropython").chmod(0o755)
    found = kit.find(tmp_path)
    assert found.notes[0].startswith("no mpy-cross here")
    assert not any(player.is_on_micropython for player in found.players)


def test_settings_for_another_gateway_reach_no_part() -> None:
    user = {"GATEWAY_ROOT": "mine", "aws_profile": "p", "EDGE_MANAGER_PORT": "1", "MICROPYPATH": "x", "HOME": "/h"}
    made = environment(user | {"PYTHONPATH": "/mine"}, GATEWAY_CLIENT_ID="demo")
    assert set(made) == {"HOME", "GATEWAY_CLIENT_ID", "PYTHONPATH", "NO_PROXY", "no_proxy"}
    assert made["PYTHONPATH"].endswith(":/mine")


def test_the_gateway_finds_its_broker_whatever_the_password_holds() -> None:
    who = BrokerLogin("gateway", "a/b:c@d#e%f")
    at = BrokerAddress("any", "127.0.0.1", 1884, 1883, who, who, True, True)
    broker = BrokerUrl.parse(gateway_settings(at, Path("state"), "http://x")["GATEWAY_MQTT_URL"])
    assert (broker.port, broker.username, broker.password) == (1884, who.user, who.password)


def test_an_event_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert logged(log, "up") is None
    log.write_text('Traceback\n[1]\n{"event": "starting"}\n{"event": "up", "url": "u"}\n{"event": "u')
    assert logged(log, "up") == {"event": "up", "url": "u"}
    assert logged(log, "down") is None


def test_a_log_that_says_nothing_is_said(tmp_path: Path) -> None:
    assert tail("dev-1", tmp_path / "none") == "The log of dev-1 is empty."
    (tmp_path / "log").write_text("".join(f"{n}\n" for n in range(100)))
    assert tail("dev-1", tmp_path / "log").splitlines()[:2] == ["The log of dev-1 ends:", "80"]
