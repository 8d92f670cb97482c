"""Processes that a test starts: ended with its context whatever happens, and never waited for without a deadline."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT
from tests.support.polling import POLL_S

MARK = "STARTED_BY_TESTS"
GRACE_S = DEADLINE_S
"""For what was ended, and is not gone yet."""


def environment(**more: str) -> dict[str, str]:
    """This process's variables without its settings of AWS, gateway and manager, and without those in AWS's files."""
    ours = ("AWS_", "GATEWAY_", "EDGE_MANAGER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    no_files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return kept | no_files | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT)} | more


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


@contextmanager
def nothing_outlives_us() -> Iterator[None]:
    """All that this process starts ends with it: after a kill -9 too, and also what a test forgot.

    Raises AssertionError at the end where something was forgotten. Its means is a variable that all processes inherit,
    which Linux shows; elsewhere nothing happens.
    """
    if not Path("/proc/self/environ").exists():
        yield
        return
    before = os.environ.get(MARK)
    mark = f"{MARK}={uuid4().hex}"
    with subprocess.Popen(["/bin/sh", "-c", _WATCHER, "watcher", mark], stdin=subprocess.PIPE, start_new_session=True):
        os.environ[MARK] = mark.partition("=")[2]
        try:
            yield
        finally:
            del os.environ[MARK]
            if before is not None:
                os.environ[MARK] = before
            left = _left(mark)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert not left, f"tests left these processes running: {left}"


_WATCHER = """
read -r _
for each in /proc/[0-9]*; do
    grep -qzxF "$1" "$each/environ" 2>/dev/null && kill -9 "${each#/proc/}"
done
true
"""


def _left(mark: str) -> dict[int, str]:
    """pid -> command line of what carries the mark, but for what ends by itself within a moment."""
    deadline = time.monotonic() + GRACE_S
    while found := _marked(mark):
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return found


def _marked(mark: str) -> dict[int, str]:
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


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
