"""What a test starts is ended: by its context, at its deadline, and where nobody ended it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.processes import awaited, is_alive, line, nothing_outlives_us, running

SILENT = [sys.executable, "-c", "import sys; sys.stdin.read()"]
PIPES: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
# Forgets a process, prints its pid, and ends without a cleanup.
FORGETFUL = """
import os, subprocess, sys
from tests.support.processes import nothing_outlives_us
with nothing_outlives_us():
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
    sys.stdin.readline()
    os._exit(1)
"""


def test_it_ends_with_its_context() -> None:
    seen = []

    def fail() -> None:
        with running(SILENT, **PIPES) as process:
            seen.append((process.pid, is_alive(process.pid)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    ((pid, was_alive),) = seen
    assert (was_alive, is_alive(pid)) == (True, False)


def test_a_process_without_output_is_killed_at_the_deadline_and_the_error_says_so() -> None:
    with running(SILENT, **PIPES) as process, pytest.raises(AssertionError, match=r"^no word in 0\.05 s from \["):
        line(process, "word", 0.05)
    with running(SILENT, **PIPES) as process, pytest.raises(AssertionError, match=r"^no end in 0\.05 s"):
        awaited(process, lambda: str(process.wait()), "end", 0.05)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc on this system")
def test_a_forgotten_process_ends_with_the_one_that_started_it() -> None:
    with running([sys.executable, "-c", FORGETFUL], cwd=ROOT, **PIPES) as forgetful:
        pid = int(line(forgetful, "pid"))
        assert is_alive(pid)
        forgetful.kill()
    until(lambda: not is_alive(pid), lambda: f"{pid} still runs", DEADLINE_S)


def forget() -> "subprocess.Popen[str]":
    """Popen returns a moment before the kernel shows the new program's variables."""
    process = subprocess.Popen(SILENT, **PIPES)
    environ = Path(f"/proc/{process.pid}/environ")
    until(lambda: environ.read_bytes() != b"", lambda: "it has no variables")
    return process


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc on this system")
def test_a_forgotten_process_is_named_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.processes.GRACE_S", 0.0)
    with (
        pytest.raises(AssertionError, match=r"left these processes running: \{.*sys\.stdin\.read"),
        nothing_outlives_us(),
    ):
        forgotten = forget()
    with forgotten:
        pass
    assert not is_alive(forgotten.pid)
