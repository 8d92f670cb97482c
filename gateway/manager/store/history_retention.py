"""What is too old, or too much, is deleted: chunks, hours of fleets, devices' logs, the audit, names that nobody uses;
and the chunks of devices that were deregistered. In SQLite the file gets smaller. In slices, so that calls are answered
between them. `gateway.manager.history` decides.
"""

import time
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from gateway.manager.api import to_us
from gateway.manager.history import Kept, kept
from gateway.manager.store import bulk
from gateway.manager.store.history import Turn, TurnLost, Usage, delete_chunks, read_usage
from gateway.manager.store.store import Store
from gateway.manager.store.tables import DEREGISTERED

MOST = {"sqlite": 300, "postgresql": 5000}
"""Rows of a table that one transaction deletes: in SQLite heartbeats wait for it."""
MOST_PAGES = 1000
GIVING_BACK = 0.01
"""Pages of a SQLite file that one transaction gives back, and the seconds for which it does."""
NAMES_INTERVAL = 3600.0
"""Seconds between two searches for names that nobody uses."""
FREE_PAGES = 2000
"""So many pages of a SQLite file may be free, beside an eighth of it: the next samples take them."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What is kept. `days`: of samples, devices' logs and the audit; `size`: bytes of samples on the disk."""

    days: int = 400
    size: int = 2 * 10**9


@dataclass(frozen=True, slots=True)
class _Todo:
    """What one transaction deletes; SQL that follows WHERE, without text of anybody, or None. `gone`: devices that were
    deregistered."""

    gone: tuple[int, ...] = ()
    chunks: str | None = None
    hours: str | None = None
    log: str | None = None
    audit: str | None = None
    names: tuple[int, ...] = ()
    pages: int = 0

    def __bool__(self) -> bool:
        return self != _Todo()


class Retention:
    """Of one process. A round ends where nothing is left to delete."""

    def __init__(self, store: Store, turn: Turn, limits: HistoryLimits) -> None:
        self._store = store
        self._turn = turn
        self._limits = limits
        self._deleted = Usage()
        self._entries = 0
        self._names_at = 0.0

    def step(self, now: float) -> bool:
        """One slice; True: there may be more to delete."""
        found = self._store.read(lambda transaction: self._find(transaction.connection, now))
        if found is None:
            return False
        seen, todo, stays = found
        if not todo:
            self._tell(stays)
            return False
        try:
            usage, entries = self._store.write(
                lambda transaction: _delete(transaction.connection, self._turn, seen, todo, now)
            )
        except TurnLost:
            return True
        except IntegrityError:  # another process has just used one of the names
            return False
        self._deleted += usage
        self._entries += entries
        return True

    def _tell(self, stays: Kept) -> None:
        if self._deleted.chunks or self._entries:
            gone, self._deleted, entries, self._entries = self._deleted, Usage(), self._entries, 0
            event = "the oldest samples were deleted: --history-days and --history-size say how many are kept"
            LOG.info(event, samples=gone.samples, bytes=gone.size, log_entries=entries, kept_from=stays.first / 1e6)

    def _find(self, connection: sa.Connection, now: float) -> tuple[float, _Todo, Kept] | None:
        seen = self._turn.seen(connection, now)
        if seen is None:
            return None
        days = ((day, usage.size) for day, usage in read_usage(connection).items())
        stays = kept(to_us(now), self._limits.days, self._limits.size, days)
        old = f"at < {now - self._limits.days * 86400!r}"
        most = MOST[connection.dialect.name]
        todo = _Todo(
            gone=tuple(connection.scalars(sa.select(DEREGISTERED.c.device).limit(most))),
            chunks=_first_of(connection, "sample_chunks", stays),
            hours=_first_of(connection, "fleet_hours", stays),
            log=f"{old} ORDER BY at LIMIT {most}" if _any(connection, f"device_log WHERE {old}") else None,
            audit=f"{old} ORDER BY at LIMIT {most}" if _any(connection, f"audit WHERE {old}") else None,
            pages=_pages(connection),
        )
        if not todo and not 0 <= now - self._names_at < NAMES_INTERVAL:
            todo = _Todo(names=_unused_names(connection))
            if not todo:
                self._names_at = now
        return seen, todo, stays


def _delete(connection: sa.Connection, turn: Turn, seen: float, todo: _Todo, now: float) -> tuple[Usage, int]:
    """The usage of the chunks that were deleted, and how many entries of logs were."""
    turn.take(connection, seen, now)
    entries = 0
    if todo.gone:
        _delete_gone(connection, todo.gone)
    if todo.hours:
        _delete_rows(connection, "fleet_hours", "fleet, metric, start", todo.hours)
    if todo.log:
        entries = _delete_rows(connection, "device_log", "id", todo.log)
    if todo.audit:
        _delete_rows(connection, "audit", "id", todo.audit)
    if todo.names:
        is_one, parameters = bulk.numbers(connection, todo.names)
        connection.exec_driver_sql(f"DELETE FROM metric_names WHERE id {is_one} AND {_UNUSED}", parameters)
    usage = delete_chunks(connection, todo.chunks) if todo.chunks else Usage()
    if todo.pages:
        _give_back(connection, todo.pages)
    return usage, entries


def _delete_gone(connection: sa.Connection, devices: tuple[int, ...]) -> None:
    most = MOST[connection.dialect.name]
    which = f"device IN ({', '.join(map(str, devices))}) ORDER BY device, metric, start, part LIMIT {most}"
    if delete_chunks(connection, which).chunks < most:
        bulk.delete(connection, DEREGISTERED, [(device,) for device in devices])


def _give_back(connection: sa.Connection, pages: int) -> None:
    """At most so many pages, for GIVING_BACK seconds."""
    end, cursor = time.monotonic() + GIVING_BACK, connection.connection.cursor()
    for _ in range(pages):
        cursor.execute("PRAGMA incremental_vacuum(1)")  # of more than one page sqlite3 would do the first alone
        if time.monotonic() >= end:
            break
    cursor.close()


def _delete_rows(connection: sa.Connection, table: str, key: str, which: str) -> int:
    delete = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {which})"
    deleted: int = connection.exec_driver_sql(delete).rowcount
    return deleted


def _first_of(connection: sa.Connection, table: str, stays: Kept) -> str | None:
    """The first rows that go, None where there are none. In PostgreSQL a total order would cost a sort of the span."""
    order = "start"
    if connection.dialect.name == "sqlite":
        order += ", device, metric, part" if table == "sample_chunks" else ", fleet, metric"
    for outside in (f"start < {stays.first:d}", f"start >= {stays.end:d}"):
        if _any(connection, f"{table} WHERE {outside}"):
            return f"{outside} ORDER BY {order} LIMIT {MOST[connection.dialect.name]}"
    return None


def _any(connection: sa.Connection, rows: str) -> bool:
    return connection.exec_driver_sql(f"SELECT 1 FROM {rows} LIMIT 1").first() is not None


_UNUSED = """NOT EXISTS (SELECT 1 FROM device_metrics WHERE metric = metric_names.id)
    AND NOT EXISTS (SELECT 1 FROM fleets JOIN fleet_hours ON fleet_hours.fleet = fleets.id
        AND fleet_hours.metric = metric_names.id)"""
"""Whatever has a chunk has an hour of a fleet, as both go at one time."""


def _unused_names(connection: sa.Connection) -> tuple[int, ...]:
    select = f"SELECT id FROM metric_names WHERE {_UNUSED} LIMIT {MOST[connection.dialect.name]}"
    return tuple(connection.exec_driver_sql(select).scalars())


def _pages(connection: sa.Connection) -> int:
    """Of a SQLite file, to be given back now: where many are free."""
    if connection.dialect.name != "sqlite" or connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() != 2:
        return 0
    pages, free = (
        connection.exec_driver_sql(f"PRAGMA {each}").scalar_one() for each in ("page_count", "freelist_count")
    )
    back: int = min(max(free - FREE_PAGES - pages // 8, 0), MOST_PAGES)
    return back
