"""Reads of the history: series of a device or a fleet, of chunks and of what is not compacted yet, each sample once.

They take a transaction of `Store.read`. Times are microseconds since 1970.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.manager.api import MetricKey
from gateway.manager.history import (
    SPAN,
    Aggregate,
    Bucket,
    Chunk,
    Point,
    Series,
    SpanKey,
    decode,
    device_buckets,
    distinct_samples,
    fleet_buckets,
    gather,
    hour_totals,
    new_points,
    pack_samples,
    page,
    sample_columns,
    split_samples,
)
from gateway.manager.store import bulk
from gateway.manager.store.history import chunk_columns, chunk_from, read_overlapping, read_parts
from gateway.manager.store.names import read_keys
from gateway.manager.store.tables import METRIC_NAMES
from gateway.manager.store.transaction import Transaction

AT_ONCE = 1_000_000
"""Bytes of recent samples of a fleet that are read at once; those of one device may be more."""


@dataclass(frozen=True, slots=True)
class MetricFilter:
    """Which metrics; None: whatever it is."""

    name: str | None = None
    dimension: str | None = None
    model: str | None = None
    version: str | None = None

    def takes(self, key: MetricKey) -> bool:
        members = ((self.name, key.name), (self.dimension, key.dimension), (self.model, key.model))
        return all(wanted in (None, found) for wanted, found in (*members, (self.version, key.version)))


@dataclass(frozen=True, slots=True)
class Extent:
    """How many samples a metric has, the times of the earliest and the latest. One that is repeated in what is not
    compacted yet counts twice."""

    samples: int
    first: int
    last: int

    def joined(self, other: "Extent") -> "Extent":
        return Extent(self.samples + other.samples, min(self.first, other.first), max(self.last, other.last))


def device_metrics(transaction: Transaction, device: int, wanted: MetricFilter) -> dict[MetricKey, tuple[int, Extent]]:
    """The metrics of which a device has samples, in order of their names: their number, and what there is."""
    connection = transaction.connection
    extents = {
        metric: Extent(*each)
        for metric, *each in connection.exec_driver_sql(
            "SELECT metric, CAST(sum(count) AS bigint), min(first), max(last) FROM sample_chunks"
            f" WHERE device = {device:d} GROUP BY metric"
        )
    }
    for key, points in _recent(connection, device).items():
        found = Extent(len(points), points[0][0], points[-1][0])
        extents[key.metric] = extents[key.metric].joined(found) if key.metric in extents else found
    keys = read_keys(connection, extents)
    ordered = sorted(keys.items(), key=lambda item: item[1])
    return {key: (metric, extents[metric]) for metric, key in ordered if wanted.takes(key)}


def device_series(
    transaction: Transaction, device: int, metrics: Collection[int], wanted: Series
) -> dict[int, list[Bucket]]:
    """Of each of these metrics; empty buckets are left out."""
    connection = transaction.connection
    recent = _new_recent(connection, device, metrics, wanted.start, wanted.end)
    return {
        metric: device_buckets(
            wanted,
            _chunks(connection, device, metric, wanted.start, wanted.end, blobs=wanted.needs_blobs),
            [point for key, points in sorted(recent.items()) if key.metric == metric for point in points],
        )
        for metric in metrics
    }


def device_samples(
    transaction: Transaction, device: int, metric: int, first: int, last: int, limit: int, after: Point | None = None
) -> tuple[list[Point], bool]:
    """At most `limit` samples from `first` up to but not including `last`, in order, and whether more follow.

    `after`: the last one of the page before.
    """
    connection = transaction.connection
    recent = _new_recent(connection, device, [metric], first, last)
    begin = first if after is None else after[0]
    chunks = _chunks(connection, device, metric, begin, last, blobs=True)
    return page(chunks, [point for points in recent.values() for point in points], first, last, limit, after)


def fleet_series(
    transaction: Transaction, fleet: str, wanted: MetricFilter, over: Series
) -> dict[MetricKey, list[Bucket]]:
    """Of each metric of a fleet, in order of their names, so by version of a model. `over.size`: an hour or more."""
    connection = transaction.connection
    number = transaction.fleet_id(fleet)
    if number is None:
        return {}
    metrics = None if wanted == MetricFilter() else _wanted_metrics(connection, wanted)
    parts = _fleet_totals(connection, number, metrics, over)
    for (metric, hour), total in _fleet_recent(connection, number):
        if metrics is None or metric in metrics:
            parts.setdefault(metric, []).append((hour, total))
    keys = read_keys(connection, parts)
    return {key: fleet_buckets(over, parts[metric]) for metric, key in sorted(keys.items(), key=lambda item: item[1])}


def _wanted_metrics(connection: sa.Connection, wanted: MetricFilter) -> set[int]:
    table = METRIC_NAMES
    select = sa.select(table.c.id)
    for member in MetricKey._fields:
        if (value := getattr(wanted, member)) is not None:
            select = select.where(table.c[member] == value)
    return set(connection.scalars(select))


def _chunks(
    connection: sa.Connection, device: int, metric: int, first: int, last: int, *, blobs: bool
) -> Iterator[Chunk]:
    """Those that may have a sample in the range, in order of their first one."""
    rest = (
        f"FROM sample_chunks WHERE device = {device:d} AND metric = {metric:d}"
        f" AND start > {first - SPAN:d} AND start < {last:d}"
    )
    rows = bulk.fetch(connection, chunk_columns(connection, blobs=blobs), rest, ())
    return iter(sorted((chunk_from(*row) for row in rows), key=lambda chunk: chunk.first))


def _recent(connection: sa.Connection, device: int) -> Mapping[SpanKey, Sequence[Point]]:
    rest = f"FROM recent_samples WHERE device = {device:d}"
    rows = bulk.fetch(connection, bulk.binary(connection, "samples"), rest, ())
    return gather((device, bulk.as_bytes(samples), 0) for (samples,) in rows).points


def _new_recent(
    connection: sa.Connection, device: int, metrics: Collection[int], first: int, last: int
) -> dict[SpanKey, list[Point]]:
    """What is not compacted yet and in no chunk."""
    found = {
        key: points
        for key, points in _recent(connection, device).items()
        if key.metric in metrics and points[0][0] < last and points[-1][0] >= first
    }
    parts = read_parts(connection, found) if found else {}
    return {key: new_points(parts.get(key, ()), points) for key, points in found.items()}


def _fleet_totals(
    connection: sa.Connection, fleet: int, metrics: Collection[int] | None, over: Series
) -> dict[int, list[tuple[int, Aggregate]]]:
    """By metric: the start of each bucket, and the aggregate of its hours. `metrics` None: of all.

    Sums that may leave the doubles together are not added: in PostgreSQL that is an error.
    """
    is_one, parameters = ("IS NOT NULL", ()) if metrics is None else bulk.numbers(connection, metrics)
    bounded = "CASE WHEN abs(sum) < 1e300 THEN sum END"
    select = (
        f"SELECT metric, (start - {over.start:d}) / {over.size:d} AS bucket, CAST(sum(count) AS bigint),"
        f" min(min), max(max), CASE WHEN count({bounded}) = count(*) THEN sum({bounded}) END FROM fleet_hours"
        f" WHERE fleet = {fleet:d} AND metric {is_one} AND start >= {over.start:d} AND start < {over.end:d}"
        " GROUP BY metric, bucket"
    )
    found: dict[int, list[tuple[int, Aggregate]]] = {}
    for metric, bucket, *total in connection.exec_driver_sql(select, parameters):
        found.setdefault(metric, []).append((over.start + bucket * over.size, Aggregate(*total)))
    return found


def _fleet_recent(connection: sa.Connection, fleet: int) -> Iterator[tuple[tuple[int, int], Aggregate]]:
    """(metric, start of an hour) and what there is in it, of some devices of the fleet, then of others: what is not
    compacted yet and in no chunk."""
    # SQLite keeps the order of CROSS JOIN: what waits is bounded, a fleet is not.
    select = (
        "SELECT device, sum(length(samples)) FROM recent_samples CROSS JOIN devices"
        f" WHERE devices.id = device AND devices.fleet = {fleet:d} GROUP BY device ORDER BY device"
    )
    devices: list[int] = []
    size = 0
    for device, length in [*connection.exec_driver_sql(select).all(), (None, 0)]:
        if devices and (device is None or size + length > AT_ONCE):
            if blob := _new_samples(connection, devices):
                yield from hour_totals(blob).items()
            devices, size = [], 0
        if device is not None:
            devices.append(device)
            size += length


def _new_samples(connection: sa.Connection, devices: Iterable[int]) -> bytes:
    """The samples of these devices that are not compacted yet and in no chunk, each once, as `pack_samples` writes
    them."""
    is_one, parameters = bulk.numbers(connection, devices)
    joined = "string_agg(samples, '')" if connection.dialect.name == "postgresql" else "group_concat(hex(samples), '')"
    select = f"SELECT device, {joined} FROM recent_samples WHERE device {is_one} GROUP BY device"
    found = connection.exec_driver_sql(select, parameters).all()
    blobs = {device: distinct_samples(bulk.as_bytes(samples)) for device, samples in found}
    times = ((device, sample_columns(blob)[1]) for device, blob in blobs.items())
    ranges = [(device, min(each), max(each)) for device, each in times if each]
    known: defaultdict[int, set[bytes]] = defaultdict(set)
    for device, metric, chunk in read_overlapping(connection, ranges):
        known[device].update(pack_samples([(metric, *point)]) for point in decode(chunk))
    for device, samples in known.items():
        blobs[device] = b"".join(split_samples(blobs[device]) - samples)
    return b"".join(blobs.values())
