"""A child process with its log in a file.

It must never leave a process running: not after an exception, and not when the parent is killed with -9.
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.errors import GatewayError

POLL_S = 0.02
LOG_LINES = 20
START_TIMEOUT_S = 25.0
"""How long a process may take to become ready."""
KILL_TIMEOUT_S = 10.0
"""How long the system may take to end a killed process."""


class ProcessError(GatewayError):
    """The process did not become ready, or ended. The message ends with the last lines of its log."""


class ManagedProcess:
    """A command that can be started and stopped many times. stdout and stderr are appended to the file `log`.

    `environment` None: that of this process.
    """

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} pid {self._process.pid}>" if self._process else f"<{self.name} not running>"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Raises ProcessError if it was not started."""
        if self._process is None:
            raise ProcessError(f"{self.name} is not running")
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], timeout: float = START_TIMEOUT_S) -> None:
        """Return when `ready()` is true. Raises ProcessError after `timeout` s, and then leaves nothing running."""
        if self.is_running:
            raise ProcessError(f"{self.name} is running already, pid {self.process.pid}")
        with self.log.open("ab") as log:
            # In its own session: Ctrl-C in a terminal reaches only the parent, which stops the processes in order.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._guard = _start_guard(self._process.pid)
            self.wait_until(ready, timeout, "was not ready")
        except BaseException:
            self.kill()
            raise

    def wait_until(self, condition: Callable[[], bool], timeout: float, problem: str) -> None:
        """Poll: another process gives no event to wait for. Raises ProcessError at the deadline or when it ends."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.is_running:
                raise ProcessError(f"{self.name} ended with status {self.process.returncode}{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} {problem} within {timeout:g} s{self._log_tail()}")
            time.sleep(POLL_S)
        if not self.is_running:  # another program answered on its port
            raise ProcessError(f"{self.name} ended with status {self.process.returncode}{self._log_tail()}")

    def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after `timeout` s. Safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """SIGKILL. Safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_S)
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate(timeout=KILL_TIMEOUT_S)
            self._guard = None

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return ". Its log ends:\n" + "\n".join(f"    {line}" for line in lines) if lines else ". Its log is empty."


def _start_guard(pid: int) -> subprocess.Popen[bytes]:
    """A shell that kills `pid` when this process ends in any way: then the pipe between them closes."""
    script = 'read -r _; kill -9 "$1"'
    return subprocess.Popen(["/bin/sh", "-c", script, "guard", str(pid)], stdin=subprocess.PIPE, start_new_session=True)
