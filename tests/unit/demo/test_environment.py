"""What the demo uses on a machine where something is missing."""

import sys
from pathlib import Path

import pytest

from gateway.demo.environment import PLACEHOLDER_BYTES, find_environment


def test_what_a_machine_lacks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    environment = find_environment(tmp_path)
    assert [note.split(":")[0] for note in environment.notes] == [
        "no micropython here (its wheels do not exist for every platform)",
        "pymicro_wakeword is not installed",
    ]
    assert not any(device.micropython for device in environment.devices)
    assert environment.handle == "placeholder"
    assert environment.model.stat().st_size == PLACEHOLDER_BYTES


def test_micropython_is_not_used_without_its_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "micropython").write_text("#!/bin/sh\n")
    (tmp_path / "micropython").chmod(0o755)
    environment = find_environment(tmp_path)
    assert environment.notes[0].startswith("no mpy-cross here")
    assert not any(device.micropython for device in environment.devices)
