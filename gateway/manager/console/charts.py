"""Series of a metric as a drawing: an area from the least to the greatest value, and a line of the means. Pure.

A drawing has numbers alone: what devices named stands beside it, as text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.manager.reports import BucketReport

WIDTH, HEIGHT = 600.0, 120.0


@dataclass(frozen=True, slots=True)
class Chart:
    """`areas`, `lines`: points of polygons and polylines, one for each stretch without a gap. `low`, `high`: the values
    at the bottom and at the top."""

    areas: Sequence[str]
    lines: Sequence[str]
    low: float
    high: float


def chart_of(buckets: Sequence[BucketReport], seconds: float, start: float, end: float) -> Chart | None:
    """Over the time from `start` to `end` (Unix seconds), in buckets of so many seconds; None: there is nothing."""
    if not buckets:
        return None
    low, high = min(each["min"] for each in buckets), max(each["max"] for each in buckets)
    spread = high / 2 - low / 2  # their difference may be more than a float has

    def x(at: float) -> float:
        return min(max((at - start) / (end - start), 0.0), 1.0) * WIDTH

    def y(value: float) -> float:
        return HEIGHT * (1 - (value / 2 - low / 2) / spread) if spread else HEIGHT / 2

    areas, lines = [], []
    for stretch in _stretches(buckets, seconds):
        at = [each["start"] + seconds / 2 for each in stretch]
        if len(stretch) == 1:  # a line of one point is not seen
            stretch, at = stretch * 2, [at[0] - seconds / 4, at[0] + seconds / 4]
        upper = [(x(each), y(bucket["max"])) for each, bucket in zip(at, stretch, strict=True)]
        lower = [(x(each), y(bucket["min"])) for each, bucket in zip(at, stretch, strict=True)]
        areas.append(_points([*upper, *reversed(lower)]))
        lines.append(_points((x(each), y(_mean(bucket))) for each, bucket in zip(at, stretch, strict=True)))
    return Chart(areas, lines, low, high)


def _mean(bucket: BucketReport) -> float:
    """Of samples that are too large to be added: the middle."""
    mean = bucket["mean"]
    return bucket["min"] / 2 + bucket["max"] / 2 if mean is None else mean


def _stretches(buckets: Sequence[BucketReport], seconds: float) -> list[list[BucketReport]]:
    found: list[list[BucketReport]] = []
    for each in buckets:
        if found and each["start"] - found[-1][-1]["start"] < 1.5 * seconds:
            found[-1].append(each)
        else:
            found.append([each])
    return found


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
