"""A child process that never outlives its parent, with its log in a file.

It must never leave a process behind: not after an exception, and not when the parent is killed with -9.
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.errors import GatewayError

POLL_S = 0.02
LOG_LINES = 20
START_S = 25.0
"""The longest wait for a process that comes up, where nobody says otherwise."""
ENDED_S = 10.0
"""The longest wait for a process that was killed."""


class ChildError(GatewayError):
    """The process did not come up, or died. The message ends with the last lines of its log."""


class Child:
    """`command`, started and ended as often as one likes. stdout and stderr are appended to the file `log`.

    `environment` None: that of this process.
    """

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} pid {self._process.pid}>" if self._process else f"<{self.name} not running>"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Raises ChildError where none was started."""
        if self._process is None:
            raise ChildError(f"{self.name} is not running")
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], timeout: float = START_S) -> None:
        """Return once `ready()` holds. Raises ChildError, and leaves nothing running, if it does not in `timeout` s."""
        if self.is_running:
            raise ChildError(f"{self.name} is running already, pid {self.process.pid}")
        with self.log.open("ab") as log:
            # Of a session of its own: Ctrl-C in a terminal reaches the parent alone, which then ends things in order.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._watcher = _watch(self._process.pid)
            self.wait_until(ready, timeout, "did not come up")
        except BaseException:
            self.kill()
            raise

    def wait_until(self, condition: Callable[[], bool], timeout: float, otherwise: str) -> None:
        """Poll: there is no event to wait for in another process. Raises ChildError at the deadline or its death."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.is_running:
                raise ChildError(f"{self.name} ended with status {self.process.returncode}{self._tail()}")
            if time.monotonic() > deadline:
                raise ChildError(f"{self.name} {otherwise} within {timeout:g} s{self._tail()}")
            time.sleep(POLL_S)
        if not self.is_running:  # something else answered in its place
            raise ChildError(f"{self.name} ended with status {self.process.returncode}{self._tail()}")

    def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM, and SIGKILL where that does not help within `timeout` s. Safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """SIGKILL: nothing is saved. Safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDED_S)
            self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate(timeout=ENDED_S)
            self._watcher = None

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return ". Its log ends:\n" + "\n".join(f"    {line}" for line in lines) if lines else ". Its log is empty."


def _watch(pid: int) -> subprocess.Popen[bytes]:
    """A shell that kills `pid` once this process is gone: the pipe to it closes however this process ends."""
    script = 'read -r _; kill -9 "$1"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "watcher", str(pid)], stdin=subprocess.PIPE, start_new_session=True
    )
