"""Every shared test file runs under MicroPython too, from source, and fails here with its output."""

import os
import subprocess

import pytest

from tests.support.paths import DEVICE_TESTS, ROOT

FILES = sorted(path.relative_to(ROOT).as_posix() for path in DEVICE_TESTS.glob("test_*.py"))


def test_there_are_shared_files():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES)
def test_shared_file(micropython, path):
    command = [micropython, ROOT / "tests/device/run.py", path]
    environment = {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed, 0 failed" in result.stdout
