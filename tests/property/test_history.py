"""The history of samples: nothing is lost, doubled or changed, in whatever order and how often it comes."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.manager.history import (
    FULL,
    HOUR,
    SECOND,
    SPAN,
    Aggregate,
    Bucket,
    Chunk,
    HourKey,
    MetricSample,
    Point,
    Series,
    SpanKey,
    compact,
    decode,
    device_buckets,
    encode,
    gather,
    merge,
    new_points,
    pack_samples,
    page,
    unpack_samples,
)
from gateway.manager.history.buckets import SIZES

T = TypeVar("T")
START = 20_700 * 24 * HOUR
YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999

times = st.integers(YEAR_1, YEAR_9999) | st.integers(0, 100).map(lambda n: START + n * SECOND)
doubles = st.floats(allow_nan=False, allow_infinity=False)
values = (
    doubles | st.integers(-10_000, 10_000).map(lambda n: n / 100) | st.floats(width=32, min_value=-1e3, max_value=1e3)
)
series_of_values = st.one_of(
    st.lists(values, min_size=1),
    st.lists(st.integers(-(10**6), 10**6), min_size=1).map(lambda numbers: [n / 1000 for n in numbers]),
    st.lists(st.sampled_from([0.0, -0.0, 1.0]), min_size=1),
)


def exact(points: Iterable[Point]) -> list[tuple[int, str]]:
    return [(at, value.hex()) for at, value in points]


def brute(points: Sequence[Point]) -> Aggregate:
    found = [value for _, value in points]
    total = sum(found)
    return Aggregate(len(found), min(found), max(found), total if math.isfinite(total) else None)


def close(one: float | None, other: float | None) -> bool:
    return one is other is None or (one is not None and other == pytest.approx(one, rel=1e-9, abs=1e-6))


def alike(one: Aggregate, other: Aggregate) -> bool:
    return (one.count, one.min, one.max) == (other.count, other.min, other.max) and close(one.sum, other.sum)


def divided(items: Sequence[T], cuts: Iterable[int]) -> list[Sequence[T]]:
    """`items` in batches that end at the cuts."""
    bounds = [0, *sorted({cut % (len(items) + 1) for cut in cuts}), len(items)]
    return [items[begin:end] for begin, end in pairwise(bounds)]


def merged(batches: Iterable[Sequence[Point]]) -> tuple[list[Chunk], list[Point]]:
    """All parts of a span after the batches, and what was said to be new."""
    parts: dict[int, Chunk] = {}
    new: list[Point] = []
    for batch in batches:
        written, found = merge(list(parts.values()), batch)
        parts |= {chunk.part: chunk for chunk in written}
        new += found
    return list(parts.values()), new


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), times, doubles)))
def test_a_blob_of_samples_comes_back(samples: list[MetricSample]) -> None:
    found = [(metric, at, value.hex()) for metric, at, value in unpack_samples(pack_samples(samples))]
    assert found == [(metric, at, value.hex()) for metric, at, value in samples]


@given(series_of_values, st.data())
def test_a_chunk_comes_back_to_the_bit(given_values: list[float], data: st.DataObject) -> None:
    count = len(given_values)
    at = sorted(data.draw(st.lists(times, min_size=count, max_size=count)))
    points = list(zip(at, given_values, strict=True))
    chunk = encode(points)
    assert exact(decode(chunk.blob)) == exact(points)
    assert (chunk.first, chunk.last) == (at[0], at[-1])
    assert alike(chunk, brute(points))


few_points = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0.5, 0.25, -1.0, 1 / 3])), max_size=150)


@given(few_points, st.lists(st.integers(0, 200), max_size=6), st.lists(st.integers(0, 200), max_size=6), st.randoms())
def test_any_order_division_and_redelivery_gives_the_same_samples(
    points: list[Point], cuts: list[int], other_cuts: list[int], chance: random.Random
) -> None:
    again = [*points, *chance.sample(points, len(points) // 2)]
    chance.shuffle(again)
    for batches in (divided(points, cuts), divided(again, other_cuts), divided(sorted(again), other_cuts)):
        chunks, new = merged(batches)
        assert sorted(point for chunk in chunks for point in decode(chunk.blob)) == sorted(set(points))
        assert sorted(new) == sorted(set(points))


runs = st.tuples(st.integers(0, 2 * FULL), st.integers(1, FULL + 100), st.integers(0, 1))
"""Where a run of samples begins, how many there are, and which values they have."""


@given(st.lists(runs, min_size=1, max_size=4))
@example([(0, FULL, 0), (0, FULL, 1), (FULL // 2, FULL, 0)])
@example([(0, FULL // 2, 0), (FULL // 2, FULL // 2, 0), (FULL, 1, 0)])
def test_parts_hold_each_sample_once_whatever_their_sizes(some: list[tuple[int, int, int]]) -> None:
    batches = [[(at, at % 7 + 0.5 * kind) for at in range(begin, begin + count)] for begin, count, kind in some]
    chunks, new = merged([*batches, *batches])
    expected = sorted({point for batch in batches for point in batch})
    assert sorted(point for chunk in chunks for point in decode(chunk.blob)) == expected
    assert sorted(new) == expected
    assert sorted(chunk.part for chunk in chunks) == list(range(len(chunks)))
    for chunk in chunks:
        points = decode(chunk.blob)
        assert len(points) <= FULL
        assert points == sorted(points)
        assert (chunk.first, chunk.last) == (points[0][0], points[-1][0])
        assert alike(chunk, brute(points))


around = st.integers(-3 * SPAN, 3 * SPAN) | st.integers(-30, 30).map(lambda n: n * HOUR // 2)
points_around = st.lists(st.tuples(around, st.sampled_from([0.5, -2.0, 1.7e308, 21.37])), max_size=40)
"""Before and after 1970, where division by a period could go wrong."""


def compacted(samples: Iterable[Sequence[Point]]) -> tuple[dict[SpanKey, list[Chunk]], dict[HourKey, list[Aggregate]]]:
    """The parts of all spans of one metric, and what came for each hour."""
    parts: dict[SpanKey, list[Chunk]] = {}
    hours: defaultdict[HourKey, list[Aggregate]] = defaultdict(list)
    for batch in samples:
        found = compact(gather([(7, pack_samples([(1, at, value)]), 3) for at, value in batch]), parts)
        for key, written in found.parts.items():
            kept = {chunk.part: chunk for chunk in parts.get(key, [])}
            parts[key] = list((kept | {chunk.part: chunk for chunk in written}).values())
        for hour, added in found.hours.items():
            hours[hour].append(added)
    return parts, hours


@given(points_around, st.lists(st.integers(0, 60), max_size=4))
def test_hours_of_a_fleet_count_each_sample_once(points: list[Point], cuts: list[int]) -> None:
    parts, hours = compacted([*divided(points, cuts), points])
    expected: defaultdict[HourKey, list[Point]] = defaultdict(list)
    for point in set(points):
        expected[HourKey(3, 1, point[0] - point[0] % HOUR)].append(point)
    assert hours.keys() == expected.keys()
    for key, some in expected.items():
        assert sum(each.count for each in hours[key]) == len(some)
        assert min(each.min for each in hours[key]) == brute(some).min
        assert max(each.max for each in hours[key]) == brute(some).max
    assert all(key.span == chunk.first // SPAN * SPAN for key, chunks in parts.items() for chunk in chunks)
    assert all(chunk.last < key.span + SPAN for key, chunks in parts.items() for chunk in chunks)


@given(points_around, points_around, st.sampled_from(SIZES), around, st.integers(1, 3 * SPAN))
def test_buckets_are_those_of_all_samples(
    old: list[Point], young: list[Point], size: int, first: int, length: int
) -> None:
    parts, _ = compacted([old])
    chunks = [chunk for some in parts.values() for chunk in some]
    wanted = Series(first // size * size, -(-(first + length) // size) * size, size)
    expected: defaultdict[int, list[Point]] = defaultdict(list)
    for point in sorted({*old, *young}):
        if wanted.start <= point[0] < wanted.end:
            expected[point[0] - point[0] % size].append(point)
    found = device_buckets(wanted, chunks, new_points(chunks, young))
    assert [bucket.start for bucket in found] == sorted(expected)
    for bucket in found:
        assert same_bucket(bucket, expected[bucket.start])


def same_bucket(bucket: Bucket, points: Sequence[Point]) -> bool:
    total = brute(points)
    same = (bucket.count, bucket.min, bucket.max) == (total.count, total.min, total.max)
    huge = total.max > 1e300  # where the sum leaves the doubles depends on the order
    return same and (huge or close(bucket.mean, total.mean()))


@given(points_around, points_around, around, st.integers(1, 6 * SPAN), st.integers(1, 10))
def test_pages_are_all_samples_of_the_range(
    old: list[Point], young: list[Point], first: int, length: int, limit: int
) -> None:
    parts, _ = compacted([old])
    chunks = sorted((chunk for some in parts.values() for chunk in some), key=lambda chunk: chunk.first)
    recent = new_points(chunks, young)
    found: list[Point] = []
    after, more = None, True
    while more:
        some, more = page(iter(chunks), recent, first, first + length, limit, after)
        found += some
        after = some[-1] if some else None
    assert found == [point for point in sorted({*old, *young}) if first <= point[0] < first + length]
