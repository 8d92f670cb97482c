"""A folder that one process at a time may use."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lock import FolderInUse, FolderLock
from tests.support.paths import ROOT

HOLD = """
import sys, time
from pathlib import Path
from gateway.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock of `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_the_process_that_has_it_is_named(other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(FolderInUse, match=rf"process {other.pid} on \S+$"):
        FolderLock(tmp_path)


def test_it_ends_with_its_process(other: subprocess.Popen[str], tmp_path: Path) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    FolderLock(tmp_path).close()


def test_a_process_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    timer = threading.Timer(0.2, first.close)
    timer.start()
    FolderLock(tmp_path, 3600.0).close()  # and not for the whole hour
    timer.join()


def test_it_is_free_after_close(tmp_path: Path) -> None:
    for _ in range(2):
        lock = FolderLock(tmp_path)
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
        lock.close()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "none")
