"""Rows of recent samples -> parts of spans, and what they add to the hours of their fleets. No I/O, no clock.

`gather` names the spans whose parts are to be read; what `compact` makes of them is written in the transaction that
deletes the rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.manager.history.aggregates import Aggregate, Point, aggregate, by_period, combined, of_values
from gateway.manager.history.chunks import SPAN, Chunk, merge
from gateway.manager.history.samples import HOUR, sample_columns, unpack_samples

RecentRow = tuple[int, bytes, int]
"""Device, blob of samples, fleet of the device."""


class SpanKey(NamedTuple):
    """`span`: its start in microseconds."""

    device: int
    metric: int
    span: int


class HourKey(NamedTuple):
    """`hour`: its start in microseconds."""

    fleet: int
    metric: int
    hour: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The points of each span, in order; the fleet of each device."""

    points: Mapping[SpanKey, Sequence[Point]]
    fleets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Compacted:
    """The parts to write, each over one of its number or as a new one; what is to be combined with each hour.

    `samples`: how many were new.
    """

    parts: Mapping[SpanKey, Sequence[Chunk]]
    hours: Mapping[HourKey, Aggregate]
    samples: int


def gather(rows: Iterable[RecentRow]) -> Batch:
    """The rows in any order. Their blobs are as `pack_samples` makes them."""
    blobs: defaultdict[int, list[bytes]] = defaultdict(list)
    fleets: dict[int, int] = {}
    for device, blob, fleet in rows:
        blobs[device].append(blob)
        fleets[device] = fleet
    points: dict[SpanKey, Sequence[Point]] = {}
    for device, parts in blobs.items():
        metrics: defaultdict[int, list[Point]] = defaultdict(list)
        for metric, at, value in unpack_samples(b"".join(parts)):
            metrics[metric].append((at, value))
        for metric, series in metrics.items():
            series.sort()
            for span, some in by_period(series, SPAN):
                points[SpanKey(device, metric, span)] = some
    return Batch(points, fleets)


def compact(batch: Batch, parts: Mapping[SpanKey, Sequence[Chunk]]) -> Compacted:
    """`parts`: all there are of each span of the batch; a span that is not there has none."""
    written: dict[SpanKey, Sequence[Chunk]] = {}
    hours: dict[HourKey, Aggregate] = {}
    samples = 0
    for key, points in batch.points.items():
        chunks, new = merge(parts.get(key, ()), points)
        if chunks:
            written[key] = chunks
        for hour, some in by_period(new, HOUR):
            at = HourKey(batch.fleets[key.device], key.metric, hour)
            added = aggregate(some)
            hours[at] = combined(hours[at], added) if at in hours else added
        samples += len(new)
    return Compacted(written, hours, samples)


def hour_totals(blob: bytes) -> dict[tuple[int, int], Aggregate]:
    """Samples, one at least, as `pack_samples` writes them -> (metric, start of an hour), what the metric has in it."""
    metrics, times, values = sample_columns(blob)
    hour, last = min(times) // HOUR, max(times) // HOUR
    if hour == last:  # what waits is young: no pair for each sample
        in_hour: defaultdict[int, list[float]] = defaultdict(list)
        for metric, value in zip(metrics, values, strict=True):
            in_hour[metric].append(value)
        return {(metric, hour * HOUR): of_values(each) for metric, each in in_hour.items()}
    by_hour: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for metric, at, value in zip(metrics, times, values, strict=True):
        by_hour[metric, at // HOUR].append(value)
    return {(metric, hour * HOUR): of_values(each) for (metric, hour), each in by_hour.items()}
