"""Rows of recent samples become chunks, device by device: a walk over all devices every INTERVAL, or sooner where many
rows wait. `gateway.manager.history` decides.

A slice is read and decided without a lock, then written in one short transaction, which also deletes its rows: each
sample is there once, wherever the process ends.
"""

import json
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from gateway.errors import explain
from gateway.manager.api import to_us
from gateway.manager.history import (
    DAY,
    FULL,
    Aggregate,
    Batch,
    Chunk,
    Compacted,
    HourKey,
    RecentRow,
    SpanKey,
    combined,
    compact,
    decode,
    gather,
    kept,
)
from gateway.manager.store import bulk, limits, tables
from gateway.manager.store.heartbeats import add_log
from gateway.manager.store.history import (
    Turn,
    TurnLost,
    Usage,
    add_usage,
    count_recent,
    delete_chunks,
    existing_devices,
    read_parts,
    set_task_time,
    task_time,
    write_parts,
)
from gateway.manager.store.recording import LIMIT, LogEntry
from gateway.manager.store.store import Store

INTERVAL = 600.0
"""Seconds between two walks."""
MOST_WAITING = 200_000
"""Rows; where more wait, a walk begins."""
MOST_ROWS = 2000
LEAST_ROWS = 50
MOST_BYTES = 200_000
"""Of the rows of one slice; a single row may have more."""
MOST_SPANS = 500
"""Of one slice, that is chunks to write; a single row may have more."""
MOST_CHUNKS = 200_000
"""Of one device: 120 metrics for 400 days. The oldest go beyond it."""
FEW_NEW = 20
"""New chunks of a device in one slice. Of those that have more, all chunks are counted."""
SPARE = 2000
"""So many chunks more are deleted where a device has too many: it is not done again at once."""
WALK = "compaction"

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

_SET_HOUR = "(fleet, metric, start) DO UPDATE SET " + ", ".join(
    f"{each} = excluded.{each}" for each in ("count", "min", "max", "sum")
)


@dataclass(frozen=True, slots=True)
class _Slice:
    """What is written. `rows`: their numbers; `next`: the device to go on with, None after the last one.

    `excess`: by device, how many chunks are too many.
    """

    seen: float
    rows: Sequence[int]
    devices: Collection[int]
    compacted: Compacted
    hours: Mapping[HourKey, Aggregate]
    usage: Mapping[int, Usage]
    excess: Mapping[int, int]
    next: int | None


class Compaction:
    """The walk of one process. `days`: the samples of how many days are kept; None: of all."""

    def __init__(self, store: Store, turn: Turn, days: int | None) -> None:
        self._store = store
        self._turn = turn
        self._days = days
        self._device: int | None = None
        """The next one of the walk; None: there is no walk."""
        self._rows = MOST_ROWS
        """That are read for a slice: about as many as the last one had."""

    def step(self, now: float) -> bool:
        """One slice; True: there is more to do."""
        work = self._store.read(lambda transaction: self._prepare(transaction.connection, now))
        if work is None:
            return False
        try:
            self._store.write(lambda transaction: self._write(transaction.connection, work, now))
        except TurnLost:
            return True
        self._device = work.next
        return work.next is not None

    def _prepare(self, connection: sa.Connection, now: float) -> _Slice | None:
        seen = self._turn.seen(connection, now)
        if seen is None:
            self._device = None
            return None
        if self._device is None and not _is_due(connection, now):
            return None
        rows, more = _read_rows(connection, self._device or 0, self._rows)
        fleets = existing_devices(connection, {device for _, device, _ in rows})
        first = kept(to_us(now), self._days, None, ()).first
        used = _used_metrics(connection, fleets)
        while True:
            batch = _chosen(rows, fleets, used, first)
            if len(batch.points) <= MOST_SPANS or len(rows) == 1:
                break
            rows, more = rows[: len(rows) // 2], True
        self._rows = min(max(2 * len(rows), LEAST_ROWS), MOST_ROWS)
        parts = read_parts(connection, batch.points)
        try:
            compacted = compact(batch, parts)
        except (ValueError, zlib.error, struct.error):
            parts = {key: [_readable(key, chunk) for chunk in chunks] for key, chunks in parts.items()}
            compacted = compact(batch, parts)
        usage, new = _grown(parts, compacted)
        return _Slice(
            seen=seen,
            rows=[number for number, _, _ in rows],
            devices=fleets,
            compacted=compacted,
            hours=_hours(connection, compacted, first, to_us(now) + DAY),
            usage=usage,
            excess=_excess(connection, new),
            next=rows[-1][1] if more else None,
        )

    def _write(self, connection: sa.Connection, work: _Slice, now: float) -> None:
        self._turn.take(connection, work.seen, now)
        if len(existing_devices(connection, work.devices)) != len(work.devices):
            raise TurnLost
        write_parts(connection, work.compacted.parts)
        is_one, parameters = bulk.numbers(connection, work.rows)
        connection.exec_driver_sql(f"DELETE FROM recent_samples WHERE id {is_one}", parameters)
        hours = [(*key, each.count, each.min, each.max, each.sum) for key, each in work.hours.items()]
        columns = ("fleet", "metric", "start", "count", "min", "max", "sum")
        bulk.insert(connection, tables.FLEET_HOURS, columns, hours, _SET_HOUR)
        if work.next is None:
            set_task_time(connection, WALK, now)
        entries = []
        for device, excess in work.excess.items():
            which = f"device = {device:d} ORDER BY start, metric, part LIMIT {excess + SPARE:d}"
            gone = delete_chunks(connection, which)
            detail = {"deleted": gone.chunks, "kept": MOST_CHUNKS, "samples": gone.samples, "what": "history"}
            entries.append(LogEntry(device, now, LIMIT, json.dumps(detail)))
        add_log(connection, entries)
        add_usage(connection, work.usage)


def _readable(key: SpanKey, chunk: Chunk) -> Chunk:
    """The chunk, or where it is damaged one that is full and overlaps no other: it is left as it is."""
    try:
        decode(chunk.blob)
    except (ValueError, zlib.error, struct.error) as error:
        event = "samples in the database are damaged: they cannot be shown, all else is kept; look at the disk"
        LOG.error(event, device=key.device, metric=key.metric, start=key.span / 1e6, detail=explain(error))
        return replace(chunk, count=FULL, first=0, last=-1)
    return chunk


def _is_due(connection: sa.Connection, now: float) -> bool:
    """A time ahead is of a clock that was set back."""
    done = task_time(connection, WALK) or 0.0
    return not 0 <= now - done < INTERVAL or count_recent(connection) > MOST_WAITING


def _read_rows(connection: sa.Connection, device: int, most: int) -> tuple[list[tuple[int, int, bytes]], bool]:
    """(number, device, samples) of `most` rows from that device on, in their order; and whether there are more.

    Of the last device all rows, or it is the only one: its chunks are then written once.
    """
    nearest = (
        f"SELECT id, device, samples FROM recent_samples WHERE device >= {device:d} ORDER BY device LIMIT {most:d}"
    )
    totals = "sum(length(samples)) OVER (ORDER BY device, id) AS total, count(*) OVER () AS found"
    rest = (
        f"FROM (SELECT id, device, samples, {totals} FROM ({nearest}) AS nearest) AS counted"
        f" WHERE total <= {MOST_BYTES} OR total = length(samples)"
    )
    found = bulk.fetch(connection, f"found, device, id, {bulk.binary(connection, 'samples')}", rest, ())
    rows = sorted((device, number, bulk.as_bytes(samples)) for _, device, number, samples in found)
    more = bool(rows) and (found[0][0] == most or len(rows) < found[0][0])
    if more and rows[0][0] != rows[-1][0]:
        rows = [row for row in rows if row[0] != rows[-1][0]]
    return [(number, device, samples) for device, number, samples in rows], more


def _used_metrics(connection: sa.Connection, devices: Collection[int]) -> set[tuple[int, int]]:
    """(device, metric) of which samples are kept: those that `limits` has not deleted.

    A device that has as many as it may makes up names: of those that have no chunk yet nothing is kept.
    """
    is_one, parameters = bulk.numbers(connection, devices)
    rest = f"FROM device_metrics WHERE device {is_one}"
    used = {(device, metric) for device, metric in bulk.fetch(connection, "device, metric", rest, parameters)}
    full = [device for device, count in Counter(device for device, _ in used).items() if count >= limits.METRICS.most]
    if full:
        is_one, parameters = bulk.numbers(connection, full)
        known = bulk.fetch(
            connection,
            "device, metric",
            f"FROM (SELECT DISTINCT device, metric FROM sample_chunks WHERE device {is_one}) AS known",
            parameters,
        )
        used -= {each for each in used if each[0] in full} - {(device, metric) for device, metric in known}
    return used


def _chosen(
    rows: Sequence[tuple[int, int, bytes]], fleets: Mapping[int, int], used: Collection[tuple[int, int]], first: int
) -> Batch:
    """What is kept of the rows: of devices that exist, of metrics that are used, in spans from `first` on."""
    packed: list[RecentRow] = [(device, samples, fleets[device]) for _, device, samples in rows if device in fleets]
    batch = gather(packed)
    points = {key: each for key, each in batch.points.items() if key.span >= first and (key.device, key.metric) in used}
    return Batch(points, batch.fleets)


def _grown(parts: Mapping[SpanKey, Sequence[Chunk]], compacted: Compacted) -> tuple[dict[int, Usage], Counter[int]]:
    """The usage by day, and how many chunks are new by device."""
    usage: dict[int, Usage] = {}
    new: Counter[int] = Counter()
    for key, chunks in compacted.parts.items():
        before = {chunk.part: chunk for chunk in parts.get(key, ())}
        grown = usage.get(key.span // DAY, Usage())
        for chunk in chunks:
            grown += Usage(1, chunk.count, len(chunk.blob))
            if (old := before.get(chunk.part)) is not None:
                grown += -Usage(1, old.count, len(old.blob))
            else:
                new[key.device] += 1
        usage[key.span // DAY] = grown
    return usage, new


def _hours(connection: sa.Connection, compacted: Compacted, first: int, end: int) -> dict[HourKey, Aggregate]:
    """The hours as they will be. Those ahead of tomorrow are of wrong clocks, and are of no fleet."""
    added = {key: each for key, each in compacted.hours.items() if first <= key.hour < end}
    table = tables.FLEET_HOURS
    given = bulk.given(connection, added, fleet=sa.BigInteger, metric=sa.BigInteger, start=sa.BigInteger)
    same = sa.and_(*(table.c[each] == given.c[each] for each in ("fleet", "metric", "start")))
    columns = [table.c[each] for each in ("fleet", "metric", "start", "count", "min", "max", "sum")]
    for fleet, metric, start, *total in connection.execute(sa.select(*columns).select_from(given.join(table, same))):
        key = HourKey(fleet, metric, start)
        added[key] = combined(Aggregate(*total), added[key])
    return added


def _excess(connection: sa.Connection, new: Counter[int]) -> dict[int, int]:
    """By device: how many chunks it will have too many."""
    excess = {}
    for device, count in new.items():
        if count > FEW_NEW:
            known = f"SELECT count(*) FROM sample_chunks WHERE device = {device:d}"
            total = connection.exec_driver_sql(known).scalar_one() + count
            if total > MOST_CHUNKS:
                excess[device] = total - MOST_CHUNKS
    return excess
