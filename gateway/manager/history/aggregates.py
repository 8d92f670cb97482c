"""Count, least, greatest and sum of samples, and their division into periods. No I/O, no clock."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Point = tuple[int, float]
"""A sample of a metric that is known: time in microseconds since 1970, value."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Of one sample at least. `sum`: None where it is beyond a double; it stays so, whatever is added."""

    count: int
    min: float
    max: float
    sum: float | None

    def mean(self) -> float | None:
        """Never below `min` or above `max`, as rounding might take it. None: the sum is not known."""
        return None if self.sum is None else min(max(self.sum / self.count, self.min), self.max)


def aggregate(points: Sequence[Point]) -> Aggregate:
    """Of one point at least."""
    if len(points) == 1:
        value = points[0][1]
        return Aggregate(1, value, value, value)
    return of_values([value for _, value in points])


def of_values(values: Sequence[float]) -> Aggregate:
    """Of one value at least."""
    return Aggregate(len(values), min(values), max(values), _finite(sum(values)))


def combined(one: Aggregate, other: Aggregate) -> Aggregate:
    """Of the samples of both."""
    total = None if one.sum is None or other.sum is None else _finite(one.sum + other.sum)
    return Aggregate(one.count + other.count, min(one.min, other.min), max(one.max, other.max), total)


def by_period(points: Sequence[Point], period: int) -> Iterator[tuple[int, Sequence[Point]]]:
    """`points` in order of time -> the start of each period that has some, and these. Periods count from 1970 on."""
    begin = 0
    while begin < len(points):
        start = points[begin][0] // period * period
        end = bisect_left(points, (start + period, -math.inf), begin)
        yield start, points[begin:end]
        begin = end


def _finite(total: float) -> float | None:
    return total if math.isfinite(total) else None
