"""A child process with its log in a file, and a broker that is one.

It must never leave a process running: not after an exception, and not when the parent is killed with -9.
"""

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, Self

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin, both_listeners_answer
from gateway.errors import GatewayError

POLL_S = 0.02
LOG_LINES = 20
START_TIMEOUT_S = 25.0
"""How long a process may take to become ready."""
STOP_TIMEOUT_S = 25.0
"""How long a process may take to end by itself: a broker saves its data."""
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

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
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


class Broker(Protocol):
    """A running broker. Anybody may have started it."""

    @property
    def address(self) -> BrokerAddress: ...

    def add_user(self, user: str) -> BrokerLogin:
        """Make a user (a device: `fleet/device`). The broker accepts the login from now on."""

    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]: ...


class ManagedBroker(ABC):
    """A broker as a child process. As a context manager it is started and stopped.

    After `stop` or `kill`, `start` uses the same ports and users, and the same data where `address.keeps_data`.
    """

    def __init__(self, address: BrokerAddress, command: list[str], log: Path) -> None:
        self.address = address
        self._process = ManagedProcess(address.kind, command, log)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.address.host}:{self.address.device_port}, {self._process!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Raises ProcessError if it is not running."""
        return self._process.process.pid

    def start(self, timeout: float = START_TIMEOUT_S) -> None:
        """Return when both listeners answer. Raises ProcessError, with the broker's log, after `timeout` seconds."""
        self._write_files()
        self._process.start(lambda: both_listeners_answer(self.address), timeout)

    def stop(self) -> None:
        """SIGTERM: the broker saves its data."""
        self._process.stop()

    def kill(self) -> None:
        """kill -9: changes since the last save are lost."""
        self._process.kill()

    def add_user(self, user: str) -> BrokerLogin:
        """Make a user. The broker knows it when this returns."""
        return self.add_users((user,))[user]

    def add_reader(self, user: str) -> BrokerLogin:
        """Make a user who may read all topics. On a real site no user may."""
        return self.add_user(user)

    @abstractmethod
    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]:
        """Make users."""

    @abstractmethod
    def _write_files(self) -> None:
        """Before each start."""


def _start_guard(pid: int) -> subprocess.Popen[bytes]:
    """A shell that kills `pid` when this process ends in any way: then the pipe between them closes."""
    script = 'read -r _; kill -9 "$1"'
    return subprocess.Popen(["/bin/sh", "-c", script, "guard", str(pid)], stdin=subprocess.PIPE, start_new_session=True)
