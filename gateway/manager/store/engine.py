"""The two engines: how a database is opened, when it is away, what may be tried again. It must never know a table.

Both are used synchronously, by threads. SQLite's file is in WAL mode with synchronous FULL: a transaction that was
committed survives a power cut. PostgreSQL is 15 or later; transactions are READ COMMITTED, nothing is kept in a
session, and no statement is prepared, so PgBouncer in transaction mode may be before it.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from gateway.errors import explain
from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.store.watch import Watch

BUSY = 5.0
"""Seconds for which one process waits while another writes, and for a connection to PostgreSQL."""
STATEMENT_TIMEOUT = 60.0
"""Seconds that one statement may take in PostgreSQL; `LIMIT` is the option of an engine that allows fewer."""
LIMIT = "limit"
GRACE = 1.0
"""Seconds more that a transaction with a limit has: then its connection is ended, since the server does not answer."""
WAL_BYTES = 8 * 1024 * 1024
"""Of SQLite's write-ahead log: what is beyond goes back to the disk once nobody reads what it replaced. A checkpoint
comes at half of it."""
_AGAIN = frozenset({"40001", "40P01"})
"""SQLSTATEs: could not serialize access, deadlock detected."""
_ASKED_WRONG = (
    "SQLITE_ERROR",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_MISUSE",
    "SQLITE_RANGE",
    "SQLITE_TOOBIG",
)
"""Names of SQLite's errors that are no fault of the file or the disk."""
_AWAY = ("08", "25006", "53", "55P03", "57014", "57P", "58", "XX")
"""Beginnings of SQLSTATEs: no connection, read-only, no resources, a lock or a statement that took too long, an
operator's intervention, the disk, damage."""


def sqlite_engine(path: Path, *, read_only: bool = False) -> sa.Engine:
    """`read_only`: needs no right to write; the file must exist.

    Without a WAL file no process has it open, and SQLite would make that file, even to read.
    """
    url = path.absolute().as_uri()
    opened = _identity(path)

    def check_identity() -> None:
        nonlocal opened
        found = _identity(path)
        if opened is None:  # the first connection has just made it
            opened = found
        elif found != opened:
            hint = "put it back, or take the new one, and restart `manager serve`"
            raise StoreUnavailable(f"{path} was deleted or replaced: {hint}")

    def connect() -> sqlite3.Connection:
        how = ""
        if read_only:
            how = "?mode=ro" if path.with_name(f"{path.name}-wal").exists() else "?mode=ro&immutable=1"
        elif opened is not None:
            # A file in the place of ours must neither be made nor read: SQLite would take our WAL file for its own, and
            # delete it where the new file is empty. A connection without a statement touches no WAL file.
            check_identity()
            how = "?mode=rw"
        connection = sqlite3.connect(
            url + how, uri=True, timeout=BUSY, isolation_level=None, cached_statements=256, check_same_thread=False
        )
        try:
            check_identity()
        except StoreUnavailable:
            connection.close()
            raise
        return connection

    if read_only:  # a connection for each transaction: the service may start between two
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)
    else:
        pool = sa.pool.QueuePool
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool, pool_size=4, max_overflow=12)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":  # it is new
                # The retention gives pages back. Of a file that has tables only VACUUM changes that; it needs a lock.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        check_identity()
        writes = not read_only and not connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    """Of the file that has this name now. What is written to one without a name would be lost at the end."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def postgresql_engine(url: str, *, read_only: bool = False) -> sa.Engine:
    """Raises ManagerError: the URL is none, or psycopg is not installed."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() not in ("postgresql", "postgres"):
            raise ValueError(url)
        parsed = parsed.set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise ManagerError("--database is not a URL: postgresql://user@host/name") from None
    try:
        engine = sa.create_engine(
            parsed,
            pool_size=4,
            max_overflow=12,
            pool_pre_ping=False,
            connect_args={
                "connect_timeout": int(BUSY),
                "client_encoding": "utf8",  # a cluster made without a locale says SQL_ASCII, and text comes as bytes
                "prepare_threshold": None,
                "autocommit": True,  # `begin` sends BEGIN itself, together with the settings
                "application_name": "edge-manager",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
            },
        )
    except ModuleNotFoundError as error:
        raise ManagerError(f"PostgreSQL needs psycopg: pip install 'edge-gateway[postgresql]' ({error})") from None

    watch = Watch()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # For this transaction alone: what is set for a session is lost, or met by others, behind PgBouncer.
        # One text without parameters goes to the server at once.
        options = connection.get_execution_options()
        limit = options.get(LIMIT)
        if limit is not None:
            watch.begin(connection.connection.driver_connection, limit + GRACE)
        milliseconds = int((STATEMENT_TIMEOUT if limit is None else limit) * 1000)
        reads = " ISOLATION LEVEL REPEATABLE READ, READ ONLY" if read_only or options.get("reads") else ""
        settings = f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {int(BUSY * 1000)}"
        connection.exec_driver_sql(f"BEGIN{reads}; {settings}")

    @sa.event.listens_for(engine, "checkin")
    def checkin(connection: Any, record: object) -> None:
        watch.end(connection)

    @sa.event.listens_for(engine, "engine_disposed")
    def disposed(engine: sa.Engine) -> None:
        watch.close()

    @sa.event.listens_for(engine, "handle_error")
    def explain_end(context: sa.engine.ExceptionContext) -> None:
        connection = context.connection
        if (
            connection is not None
            and not connection.invalidated
            and watch.has_ended(connection.connection.driver_connection)
        ):
            raise StoreUnavailable(f"{where(engine)}: a transaction was not done in time, and its connection was ended")

    return engine


def where(engine: sa.Engine) -> str:
    """What people call it: the path, or the URL without user and password."""
    if engine.dialect.name == "sqlite":
        return "the manager's database"
    parts = urlsplit(engine.url.render_as_string(hide_password=True))
    return f"the database {parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def may_repeat(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed at once: it was in another one's way."""
    return getattr(error.orig, "sqlstate", None) in _AGAIN


def is_away(error: DBAPIError) -> bool:
    """Whether the database, and not what was asked of it, is at fault."""
    if isinstance(error.orig, sqlite3.Error):
        name = getattr(error.orig, "sqlite_errorname", "")
        return bool(name) and not name.startswith(_ASKED_WRONG)
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # no answer at all
        return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return bool(state.startswith(_AWAY)) or state in _AGAIN  # each attempt met another one


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """StoreUnavailable instead of what the driver raises while the database is away, full or read-only."""
    try:
        yield
    except DBAPIError as error:
        if not is_away(error):
            raise
        raise StoreUnavailable(f"{where(engine)}: {reason(error)}") from error
    except sa.exc.TimeoutError as error:  # of the pool
        raise StoreUnavailable(f"{where(engine)}: all connections are in use") from error


def reason(error: DBAPIError) -> str:
    """The driver's own words, in one line."""
    original: Any = error.orig
    return explain(original) if isinstance(original, sqlite3.Error) else " ".join(str(original).split())


_MISTAKES = (
    ("password", "correct the user, or give the password by PGPASSWORD or PGPASSFILE"),
    ("no pg_hba.conf entry", "allow that user, host and database in the server's pg_hba.conf"),
    ("database .* does not exist", "create it (createdb), or correct --database"),
    ("role .* does not exist", "create that user, or correct --database"),
    ("permission denied", "make that user the owner of the database, or grant it CREATE on the schema"),
)
_ADVICE = (
    *_MISTAKES,
    ("refused|resolve|timeout expired|unreachable", "start the server, or correct host and port of --database"),
)


def advice(error: DBAPIError) -> str:
    """What to do, for the text after `reason`; empty where nothing is known, or where the reason says it.

    A connection that fails has no SQLSTATE: only the words say why.
    """
    if isinstance(error.orig, sqlite3.Error):
        return ""
    return next((f"; {text}" for words, text in _ADVICE if re.search(words, str(error.orig))), "")


def may_come_back(error: DBAPIError) -> bool:
    """Whether a server that could not be used may be later, without a change of what it was asked by."""
    mistaken = any(re.search(words, str(error.orig)) for words, _ in _MISTAKES)
    return not isinstance(error.orig, sqlite3.Error) and is_away(error) and not mistaken
