"""Processes that a test starts: ended with its context whatever happens, and never waited for without a deadline."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.arrivals import DEADLINE_S


@contextmanager
def running(command: Sequence[str | Path], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process with `options` of Popen, in text. It is killed where it still runs at the end."""
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[Any]") -> None:
    """Kill it, where it still runs, and close its pipes."""
    with suppress(ProcessLookupError):
        process.kill()
    process.wait(DEADLINE_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def line(process: "subprocess.Popen[str]", what: str, within: float = DEADLINE_S) -> str:
    """The next line of its stdout; "" at the end of that. Raises AssertionError, and kills it, after `within` s."""
    assert process.stdout is not None
    return awaited(process, process.stdout.readline, what, within)


def awaited(process: "subprocess.Popen[str]", read: Callable[[], str], what: str, within: float = DEADLINE_S) -> str:
    """What `read` returns, which blocks until the process writes or ends: it is killed after `within` seconds."""
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(within, expire)
    timer.daemon = True
    timer.start()
    try:
        return read()
    finally:
        timer.cancel()
        assert not late.is_set(), f"no {what} in {within:g} s from {process.args!r}"[:1000]


def is_alive(pid: int) -> bool:
    """Zombies, which nobody may have reaped yet, count as dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:  # no /proc, as on macOS, where init reaps at once; or it ended just now
        return not Path("/proc/self/stat").exists()
    return state != "Z"
