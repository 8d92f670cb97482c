"""The chunks of the history in the database: read, written, deleted and counted; and whose turn it is to change them.

One process at a time works on the history, by the row of `tasks` of that name. Whoever changes it reads the row's time
first, decides at leisure, and in the writing transaction replaces the time that it read by a later one: where that is
no longer there, another process was faster, and nothing is written. So what was read still holds, and no lock is held
meanwhile. A process whose turn ended, however it ended, is followed by another one after HELD seconds.

Rows of `history_days` are the last that a transaction changes, in the order of their days.
"""

import json
import math
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.manager.history import DAY, SPAN, Aggregate, Chunk, SpanKey
from gateway.manager.store import bulk, tables

HELD = 30.0
"""Seconds after its last change for which it stays a process's turn."""
ROW = 64
"""Bytes that a chunk takes on the disk beside its samples, about."""
TURN = "history"

_TOTALS = struct.Struct("<ddd")
_ADD = ", ".join(f"{each} = history_days.{each} + excluded.{each}" for each in ("chunks", "samples", "bytes"))
_KEY = ("device", "metric", "start", "part")
_REST = ("first", "last", "count", "totals", "samples")
_SET = f"({', '.join(_KEY)}) DO UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in _REST)


class TurnLost(Exception):
    """Another process was faster, or a device was deregistered: what was read holds no longer."""


class Turn:
    """Of this process: the tasks of one thread share it. `name`: of the row; `held`: seconds, as `HELD`."""

    def __init__(self, name: str = TURN, held: float = HELD) -> None:
        self._name = name
        self._held = held
        self._mine: tuple[float, ...] = ()

    def seen(self, connection: sa.Connection, now: float) -> float | None:
        """What `take` needs; None: it is another process's turn."""
        done = task_time(connection, self._name) or 0.0
        return done if done in self._mine or not abs(now - done) < self._held else None

    def take(self, connection: sa.Connection, seen: float, now: float) -> None:
        """In the writing transaction, before all else. Raises TurnLost."""
        after = max(now, math.nextafter(seen, math.inf))
        mark = "%b" if connection.dialect.name == "postgresql" else "?"
        insert = f"INSERT INTO tasks (name, done) VALUES ('{self._name}', {mark}) ON CONFLICT (name)"
        update = f"{insert} DO UPDATE SET done = excluded.done WHERE tasks.done = {mark}"
        if connection.exec_driver_sql(update, (after, seen)).rowcount != 1:
            raise TurnLost
        self._mine = seen, after  # the first where the commit fails


def task_time(connection: sa.Connection, name: str) -> float | None:
    """The last time that it was done, in Unix seconds; None: never."""
    found: float | None = connection.scalar(sa.select(tables.TASKS.c.done).where(tables.TASKS.c.name == name))
    return found


def set_task_time(connection: sa.Connection, name: str, now: float) -> None:
    bulk.insert(connection, tables.TASKS, ("name", "done"), [(name, now)], "(name) DO UPDATE SET done = excluded.done")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the chunks of some time. `bytes`: of their samples, without what the rows take beside."""

    chunks: int = 0
    samples: int = 0
    bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.chunks + other.chunks, self.samples + other.samples, self.bytes + other.bytes)

    def __neg__(self) -> "Usage":
        return Usage(-self.chunks, -self.samples, -self.bytes)

    @property
    def size(self) -> int:
        """Bytes on the disk, about."""
        return self.bytes + ROW * self.chunks


def read_usage(connection: sa.Connection) -> dict[int, Usage]:
    """By day, counted from 1970 on."""
    found = bulk.fetch(connection, "day, chunks, samples, bytes", "FROM history_days", ())
    return {day // DAY: Usage(*counts) for day, *counts in found}


def add_usage(connection: sa.Connection, grown: Mapping[int, Usage]) -> None:
    """`grown`: by day, counted from 1970 on."""
    rows = [(day * DAY, each.chunks, each.samples, each.bytes) for day, each in sorted(grown.items())]
    bulk.insert(
        connection, tables.HISTORY_DAYS, ("day", "chunks", "samples", "bytes"), rows, f"(day) DO UPDATE SET {_ADD}"
    )


def pack_totals(total: Aggregate) -> bytes:
    return _TOTALS.pack(total.min, total.max, math.nan if total.sum is None else total.sum)


def unpack_totals(count: int, totals: bytes) -> Aggregate:
    least, greatest, total = _TOTALS.unpack(totals)
    return Aggregate(count, least, greatest, None if math.isnan(total) else total)


def chunk_columns(connection: sa.Connection, *, blobs: bool) -> str:
    """What `chunk_from` takes, of `sample_chunks`."""
    samples = bulk.binary(connection, "sample_chunks.samples") if blobs else "NULL"
    return f"part, first, last, count, {bulk.binary(connection, 'totals')}, {samples}"


def chunk_from(part: int, first: int, last: int, count: int, totals: Any, samples: Any) -> Chunk:
    total = unpack_totals(count, bulk.as_bytes(totals))
    blob = b"" if samples is None else bulk.as_bytes(samples)
    return Chunk(count, total.min, total.max, total.sum, first, last, blob, part)


def read_parts(connection: sa.Connection, keys: Iterable[SpanKey]) -> dict[SpanKey, list[Chunk]]:
    """All parts of these spans; a span without one is left out."""
    wanted = list(keys)
    if connection.dialect.name == "postgresql":
        table = "unnest(%b::bigint[], %b::bigint[], %b::bigint[]) AS wanted (device, metric, start) JOIN"
        parameters: tuple[Any, ...] = tuple(list(each) for each in zip(*wanted, strict=True)) or ([], [], [])
    else:
        members = ", ".join(f"json_extract(value, '$[{place}]') AS {each}" for place, each in enumerate(_KEY[:3]))
        table = f"(SELECT {members} FROM json_each(?)) AS wanted CROSS JOIN"  # SQLite keeps that order
        parameters = (json.dumps(wanted),)
    same = " AND ".join(f"sample_chunks.{each} = wanted.{each}" for each in _KEY[:3])
    columns = f"wanted.device, wanted.metric, wanted.start, {chunk_columns(connection, blobs=True)}"
    parts: dict[SpanKey, list[Chunk]] = {}
    for device, metric, start, *row in bulk.fetch(
        connection, columns, f"FROM {table} sample_chunks ON {same}", parameters
    ):
        parts.setdefault(SpanKey(device, metric, start), []).append(chunk_from(*row))
    return parts


def read_overlapping(
    connection: sa.Connection, ranges: Collection[tuple[int, int, int]]
) -> Iterator[tuple[int, int, bytes]]:
    """Device, metric and samples of the chunks that may have one in these times. `ranges`: device, first, last."""
    columns = f"wanted.device, sample_chunks.metric, {bulk.binary(connection, 'samples')}"
    names = ("device", "first", "last")
    if connection.dialect.name == "postgresql":
        table = f"unnest(%b::bigint[], %b::bigint[], %b::bigint[]) AS wanted ({', '.join(names)})"
        parameters: tuple[Any, ...] = tuple(list(each) for each in zip(*ranges, strict=True))
    else:
        members = ", ".join(f"json_extract(value, '$[{place}]') AS {each}" for place, each in enumerate(names))
        table, parameters = f"(SELECT {members} FROM json_each(?)) AS wanted", (json.dumps(ranges),)
    # SQLite keeps the order of CROSS JOIN. A device has chunks of its metrics.
    rest = f"""FROM {table} CROSS JOIN device_metrics CROSS JOIN sample_chunks
        WHERE device_metrics.device = wanted.device
        AND sample_chunks.device = wanted.device AND sample_chunks.metric = device_metrics.metric
        AND start > wanted.first - {SPAN:d} AND start <= wanted.last
        AND sample_chunks.last >= wanted.first AND sample_chunks.first <= wanted.last"""
    for device, metric, samples in bulk.fetch(connection, columns, rest, parameters):
        yield device, metric, bulk.as_bytes(samples)


def write_parts(connection: sa.Connection, parts: Mapping[SpanKey, Sequence[Chunk]]) -> None:
    """Each over one of its number, or as a new one. The caller adds to the usage."""
    rows = [
        (*key, chunk.part, chunk.first, chunk.last, chunk.count, pack_totals(chunk), chunk.blob)
        for key, chunks in parts.items()
        for chunk in chunks
    ]
    bulk.insert(connection, tables.SAMPLE_CHUNKS, (*_KEY, *_REST), rows, _SET)


def delete_chunks(connection: sa.Connection, which: str) -> Usage:
    """Deletes chunks, and what they add to the usage. `which`: what follows WHERE, without text of anybody; it may have
    a LIMIT, and then an order, which must be total in SQLite."""
    key = ", ".join(_KEY)
    delete = f"DELETE FROM sample_chunks WHERE ({key}) IN (SELECT {key} FROM sample_chunks WHERE {which})"
    counts = "start, count(*), CAST(sum(count) AS bigint), CAST(sum(size) AS bigint)"
    if connection.dialect.name == "postgresql":
        gone = f"WITH gone AS ({delete} RETURNING start, count, length(samples) AS size)"
        found = connection.exec_driver_sql(f"{gone} SELECT {counts} FROM gone GROUP BY start").all()
    else:
        gone = f"(SELECT start, count, length(samples) AS size FROM sample_chunks WHERE {which})"
        found = connection.exec_driver_sql(f"SELECT {counts} FROM {gone} GROUP BY start").all()
        connection.exec_driver_sql(delete)
    grown: dict[int, Usage] = {}
    for start, *each in found:
        grown[start // DAY] = grown.get(start // DAY, Usage()) + -Usage(*each)
    add_usage(connection, grown)
    return -sum(grown.values(), Usage())


def count_recent(connection: sa.Connection) -> int:
    """Rows of recent samples, by the numbers of the oldest and the newest one: a count would read them all."""
    oldest = "(SELECT id FROM recent_samples ORDER BY id LIMIT 1)"
    newest = "(SELECT id FROM recent_samples ORDER BY id DESC LIMIT 1)"
    found: int = connection.exec_driver_sql(f"SELECT coalesce({newest} - {oldest} + 1, 0)").scalar_one()
    return found


def existing_devices(connection: sa.Connection, devices: Collection[int]) -> dict[int, int]:
    """Device -> fleet. Until the commit none of them is deregistered; heartbeats are not held up."""
    is_one, parameters = bulk.numbers(connection, devices)
    rest = f"FROM devices WHERE id {is_one}"
    if connection.dialect.name == "postgresql" and not connection.get_execution_options().get("reads"):
        rest += " ORDER BY id FOR KEY SHARE"
    return {row[0]: row[1] for row in bulk.fetch(connection, "id, fleet", rest, parameters)}
