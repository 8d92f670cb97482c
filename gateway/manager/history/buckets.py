"""A series of samples for a reader: in buckets of a size that suits its range, or page by page. No I/O, no clock."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.manager.history.aggregates import Aggregate, Point, aggregate, by_period, combined
from gateway.manager.history.chunks import SPAN, Chunk, decode
from gateway.manager.history.samples import DAY, HOUR, MINUTE, SECOND

SIZES = (
    *(count * SECOND for count in (1, 2, 5, 10, 15, 30)),
    *(count * MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * HOUR for count in (1, 2, 3, 6, 12)),
    *(count * DAY for count in (1, 2, 7)),
)
"""Microseconds. Each divides SPAN, or is a multiple of it; beyond the last, its multiples."""
MAX_POINTS = 11_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """`start` in microseconds; `mean`: None where the sum of the samples is beyond a double."""

    start: int
    count: int
    min: float
    mean: float | None
    max: float


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn: whole buckets of `size`, the first at `start`, the last before `end`; all in microseconds."""

    start: int
    end: int
    size: int

    @property
    def needs_blobs(self) -> bool:
        """False: the aggregates of chunks are enough; their blobs need not be read."""
        return self.size < SPAN


def series(first: int, last: int, points: int = MAX_POINTS, least: int = SECOND) -> Series:
    """Buckets over `first` up to but not including `last`: of the smallest size of `least` or more with which `points`
    of them, and MAX_POINTS, are as long as the range. All in microseconds.

    The first and the last bucket reach beyond the range where it does not begin and end with a bucket: then there may
    be one more. `least`: HOUR for the hours of a fleet. Raises ValueError: an empty range, or no point.
    """
    if first >= last or points < 1:
        raise ValueError("a series needs a range and at least one point")
    needed = max(least, -((first - last) // min(points, MAX_POINTS)))
    size = next((each for each in SIZES if each >= needed), -(-needed // SIZES[-1]) * SIZES[-1])
    return Series(first // size * size, -(-last // size) * size, size)


def device_buckets(wanted: Series, chunks: Iterable[Chunk], recent: Sequence[Point] = ()) -> list[Bucket]:
    """Of one metric of a device; empty buckets are left out.

    `chunks`: all that have a sample from `wanted.start` up to `wanted.end`, with their blobs if it needs them.
    `recent`: what `new_points` gives of the samples that are not compacted yet. Those beyond the range are left out.
    """
    return _buckets(wanted, _parts(wanted.size, chunks, recent))


def fleet_buckets(wanted: Series, hours: Iterable[tuple[int, Aggregate]]) -> list[Bucket]:
    """Of one metric of a fleet, from the start and the aggregate of each hour. `wanted.size`: an hour or more."""
    return _buckets(wanted, hours)


def page(
    chunks: Iterable[Chunk], recent: Iterable[Point], first: int, last: int, limit: int, after: Point | None = None
) -> tuple[list[Point], bool]:
    """At most `limit` points from `first` up to but not including `last`, in order, each once; and whether more follow.

    `chunks`: those that have a sample in the range, in order of `first`. No more of them is read than the page takes.
    `recent`: what `new_points` gives of the samples that are not compacted yet. `after`: the last point of the page
    before; `first` may then be its time.
    """
    begin = (first, -math.inf) if after is None else after
    found = sorted(recent)
    for chunk in chunks:
        if bisect_left(found, (chunk.first, -math.inf)) - bisect_right(found, begin) > limit:
            break
        found += decode(chunk.blob)
        found.sort()
    wanted = found[bisect_right(found, begin) : bisect_left(found, (last, -math.inf))]
    return wanted[:limit], len(wanted) > limit


def _parts(size: int, chunks: Iterable[Chunk], recent: Sequence[Point]) -> Iterator[tuple[int, Aggregate]]:
    """Time and aggregate of what lies in one bucket. Chunks that do are not decoded."""
    for chunk in chunks:
        if chunk.first // size == chunk.last // size:
            yield chunk.first, chunk
        else:
            for start, points in by_period(decode(chunk.blob), size):
                yield start, aggregate(points)
    for start, points in by_period(recent, size):
        yield start, aggregate(points)


def _buckets(wanted: Series, parts: Iterable[tuple[int, Aggregate]]) -> list[Bucket]:
    totals: dict[int, Aggregate] = {}
    for at, part in parts:
        start = at // wanted.size * wanted.size
        totals[start] = combined(totals[start], part) if start in totals else part
    return [
        Bucket(start, total.count, total.min, total.mean(), total.max)
        for start, total in sorted(totals.items())
        if wanted.start <= start < wanted.end
    ]
