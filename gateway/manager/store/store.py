"""The manager's database: an open engine, and transactions that are tried again where another one was in the way.

Synchronous: a thread of its own calls it, never the event loop's. Every change is one transaction; once `write`
returns it survives a power cut.
"""

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.errors import explain
from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.place import Place
from gateway.manager.store import engine as engines
from gateway.manager.store import formats
from gateway.manager.store.heartbeats import record
from gateway.manager.store.limits import Deletions
from gateway.manager.store.names import MetricNames
from gateway.manager.store.recording import HeartbeatCall, ReportedResult
from gateway.manager.store.transaction import Transaction
from gateway.ownership import make_file

FILE = "manager.sqlite3"
LOCK = "opening.lock"
TURN = 2.5
"""Seconds that a change of a SQLite file waits for the one before it in this process, which may wait for another one
(`engine.BUSY`): together less than the gateway waits for an answer."""
ATTEMPTS = 10
"""How often a transaction is tried that meets others."""

T = TypeVar("T")
OnResults = Callable[[Transaction, Mapping[tuple[int, str], ReportedResult], float], set[int]]
"""(transaction, results by device and deployment, now) -> the rollouts for which a step may follow."""


def open_store(place: Place, *, create: bool, read_only: bool = False, limit: float | None = None) -> "Store":
    """The database of that place, in the newest format.

    `read_only`: nothing is written. `limit`: seconds that a transaction in PostgreSQL may take.
    Raises ManagerError where there is none and `create` is false, where it has another format and may not be changed,
    or where it cannot be used; StoreUnavailable where a server may be there later.
    """
    if place.url is not None:
        engine = _prepared(engines.postgresql_engine(place.url, read_only=read_only), create, None)
        return Store(engine if limit is None else engine.execution_options(**{engines.LIMIT: limit}))
    path = place.data / FILE
    if not create and not path.is_file():
        hint = "--data or EDGE_MANAGER_DATA names the directory that `serve` made"
        raise ManagerError(f"no Edge Manager data in {place.data.absolute()}: {hint}")
    try:
        if read_only:
            return Store(_prepared(engines.sqlite_engine(path, read_only=True), False, path))
        place.data.mkdir(parents=True, exist_ok=True)
        with _opening_lock(place.data):
            make_file(path, 0o644)
            return Store(_prepared(engines.sqlite_engine(path), create, path))
    except OSError as error:
        raise ManagerError(f"the manager's database: {explain(error, path)}") from error


def restrict_files(place: Place) -> None:
    """The SQLite file has secrets of access keys from now on: nobody but its owner may read it."""
    if place.url is None:
        for path in (place.data / f"{FILE}{end}" for end in ("", "-wal", "-shm")):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                path.chmod(0o600)


@contextlib.contextmanager
def _opening_lock(data: Path) -> Iterator[None]:
    """One process at a time opens the file: SQLite's timeout does not cover the change of a new file to WAL."""
    make_file(data / LOCK, 0o644)
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepared(engine: sa.Engine, create: bool, path: Path | None) -> sa.Engine:
    """The engine of a database in the newest format. `create`: it may be made, or changed. `path`: of a SQLite file."""
    try:
        if not create:
            formats.require_newest(engine)
            return engine
        formats.bring_to_newest(engine)
        if engine.dialect.name == "sqlite":
            formats.make_shrinkable(engine)
    except DBAPIError as error:
        engine.dispose()
        detail = f"{engines.reason(error)}{engines.advice(error)}" if path is None else explain(_cause(error), path)
        kind = StoreUnavailable if engines.may_come_back(error) else ManagerError
        raise kind(f"{engines.where(engine)}: {detail}") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _cause(error: DBAPIError) -> Exception:
    return error.orig if isinstance(error.orig, Exception) else error


class Store:
    """Devices, their deployments, what they reported. Raises StoreUnavailable while the database is away.

    Any thread may call its methods, but one alone `record`. In SQLite one at a time writes; `read` waits for none.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.transaction_seconds: dict[str, float] = {}
        """`read` and `write` -> how long the last one took that succeeded, with its commit."""
        self._names = MetricNames()
        self._deletions = Deletions()
        self._reading = engine.execution_options(reads=True)
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else None
        self._writer: sa.Connection | None = None
        """Of SQLite: all changes by one connection, whose pages and prepared statements stay valid."""
        self._is_writer_old = False
        """The next change opens another one: a change failed, or the engine was disposed."""
        sa.event.listen(engine, "engine_disposed", self._on_disposed)

    def __repr__(self) -> str:
        return f"Store({self.engine.dialect.name})"

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.engine.dispose()

    def check_reads(self) -> None:
        """Raises StoreUnavailable where the database cannot be read."""
        self.read(lambda transaction: transaction.has_devices(""))

    def check_writes(self) -> None:
        """Raises StoreUnavailable where the database takes no changes."""
        self.write(lambda transaction: transaction.touch())

    def read(self, work: Callable[[Transaction], T]) -> T:
        """`work` sees the database as it was at one moment, and must not write."""
        return self._run("read", work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """What `work` changes is committed together, or not at all.

        It is called again where another one was in the way.
        """
        if self._writing is None:
            return self._run("write", work)
        if not self._writing.acquire(timeout=TURN):
            raise StoreUnavailable(f"{engines.where(self.engine)}: another change of this process is not done")
        try:
            return self._run("write", work)
        except BaseException:
            self._is_writer_old = True
            raise
        finally:
            self._writing.release()

    def record(
        self, heartbeats: Sequence[HeartbeatCall], on_results: OnResults
    ) -> tuple[dict[tuple[str, str], str], set[int]]:
        """Writes a group of calls in one transaction, and in it what `on_results` does where devices reported results.

        The versions (`StoredDevice`) of the devices that are registered, by names of fleet and device; and what
        `on_results` returned.
        """
        attempts = 0

        def work(transaction: Transaction) -> tuple[dict[tuple[str, str], str], set[int]]:
            nonlocal attempts
            attempts += 1
            if attempts > 1:  # what was added was rolled back
                self._names.forget()
            changes, known = record(transaction.connection, heartbeats, self._names, self._deletions)
            rollouts = on_results(transaction, changes.results, heartbeats[-1].now) if changes.results else set()
            return {name: device.version for name, device in known.items()}, rollouts

        try:
            return self.write(work)
        except IntegrityError:  # a name that is kept here was deleted, since nobody used it
            self._names.forget()
            return self.write(work)
        except BaseException:
            self._names.forget()
            raise

    def _source(self, kind: str) -> sa.Engine | sa.Connection:
        if kind == "read":
            return self._reading
        if self._writing is None:
            return self.engine
        if self._writer is not None and self._is_writer_old:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._is_writer_old = False
            self._writer = self.engine.connect()
        return self._writer

    def _on_disposed(self, engine: sa.Engine) -> None:
        self._is_writer_old = True

    def _run(self, kind: str, work: Callable[[Transaction], T]) -> T:
        with engines.translated(self.engine):
            source = self._source(kind)
            for attempt in range(1, ATTEMPTS + 1):
                done = False
                begun = time.perf_counter()
                try:
                    with source.begin() as opened:
                        connection = opened if isinstance(opened, sa.Connection) else opened.connection
                        result = work(Transaction(connection))
                        done = True
                    self.transaction_seconds[kind] = time.perf_counter() - begun
                    return result
                except DBAPIError as error:
                    # A pooled connection may have died while nobody used it, and the pool drops all with it. Where it
                    # dies in the commit, nobody knows whether that was done.
                    died = error.connection_invalidated and not done and attempt == 1
                    if attempt == ATTEMPTS or not (died or engines.may_repeat(error)):
                        raise
                    time.sleep(0.01 * (attempt - 1))
        raise StoreUnavailable("unreachable")
