"""A standard error stream on which a write never raises and, once it is `start`ed, never waits.

What follows a line must happen, whatever becomes of the line: an acknowledgement, a response, an exit status. Imports
nothing of this package.
"""

import atexit
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable

STDOUT, STDERR = 1, 2
MAX_WAITING = 4 * 1024 * 1024
"""Bytes that wait for a reader that is slow; what is written beyond them is lost, and counted."""
EXIT_WAIT = 1.0
"""Seconds for which the end of the process waits for them."""


class StderrWriter(io.TextIOBase):
    """Text goes to the file descriptor `fd`: at once, and from `start` on through a thread.

    `lost` counts the texts that could not be written. `max_waiting` in bytes.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int = STDERR, max_waiting: int = MAX_WAITING) -> None:
        self.lost = 0
        self._reported = 0
        self._fd, self._max_waiting = fd, max_waiting
        self._on_recovery: Callable[[int], str] | None = None
        self._torn = False
        self._waiting: deque[bytes] = deque()
        self._size = 0
        # Reentrant: a destructor that logs may run while this thread has it.
        self._changed = threading.Condition(threading.RLock())

    def start(self, on_recovery: Callable[[int], str]) -> None:
        """From now on a thread writes. `on_recovery`: the text that says how many were lost, once it can be written."""
        running, self._on_recovery = self._on_recovery is not None, on_recovery
        if not running:
            threading.Thread(target=self._write_waiting, name="stderr", daemon=True).start()
            atexit.register(self.drain)

    def write(self, text: str) -> int:
        data = text.encode(self.encoding, self.errors)
        with self._changed:
            if self._on_recovery is None:
                self.lost += not self._write(data)
            elif self._size + len(data) > self._max_waiting:
                self.lost += 1
            else:
                self._waiting.append(data)
                self._size += len(data)
                self._changed.notify_all()
        return len(text)

    def drain(self, timeout: float = EXIT_WAIT) -> bool:
        """Whether all was written, or lost, within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._size, timeout)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = self._waiting.popleft()
            written = self._write(data)
            with self._changed:
                self.lost += not written
                lost = 0 if self._waiting else self.lost - self._reported
            if written and lost and self._on_recovery is not None and self._write(self._on_recovery(lost).encode()):
                self._reported += lost
            with self._changed:
                self._size -= len(data)
                self._changed.notify_all()

    def _write(self, data: bytes) -> bool:
        left = memoryview(b"\n" + data if self._torn else data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # somebody who has the same pipe made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:
                self._torn = self._torn or len(left) < len(data)
                return False
        self._torn = False
        return True


def protect_stderr() -> StderrWriter:
    """Make sys.stderr such a stream, if it is not one, so that what Python itself prints there never raises either."""
    if not isinstance(sys.stderr, StderrWriter):
        try:
            os.fstat(STDERR)
        except OSError:  # closed: the next file that is opened would be it
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
        sys.stderr = StderrWriter()
    return sys.stderr


def discard_stdout() -> None:
    """Where stdout cannot be written: what is left in its buffer would raise again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def lost_lines() -> int:
    """How many texts could not be written to sys.stderr, as far as it is such a stream."""
    return sys.stderr.lost if isinstance(sys.stderr, StderrWriter) else 0
