"""Series for a reader: sizes, buckets, pages."""

import pytest

from gateway.manager.history import (
    DAY,
    HOUR,
    MAX_POINTS,
    MINUTE,
    SECOND,
    SPAN,
    Aggregate,
    Bucket,
    Chunk,
    Series,
    device_buckets,
    encode,
    fleet_buckets,
    page,
    series,
)
from gateway.manager.history.buckets import SIZES

START = 20_700 * DAY


@pytest.mark.parametrize(
    ("length", "points", "size"),
    [
        (500 * SECOND, 500, SECOND),
        (500 * SECOND + 1, 500, 2 * SECOND),
        (HOUR, 60, MINUTE),
        (7 * DAY, 500, 30 * MINUTE),
        (7 * DAY, 10_080, MINUTE),
        (365 * DAY, 500, DAY),
        (10_000 * 365 * DAY, 500, 1043 * 7 * DAY),
        (DAY, 1, DAY),
    ],
)
def test_the_size_suits_range_and_points(length, points, size):
    assert series(START, START + length, points).size == size


def test_a_reader_may_ask_for_a_size():
    assert series(START, START + DAY, least=45 * MINUTE) == Series(START, START + DAY, HOUR)
    assert series(START, START + DAY, least=8 * DAY).size == 14 * DAY


def test_there_is_a_most_of_points():
    assert series(START, START + MAX_POINTS * SECOND).size == SECOND
    assert series(START, START + MAX_POINTS * SECOND + 1, 10**9).size == 2 * SECOND


@pytest.mark.parametrize(("first", "last", "points"), [(5, 5, 10), (6, 5, 10), (5, 6, 0)])
def test_an_empty_range_and_no_point_are_errors(first, last, points):
    with pytest.raises(ValueError, match="range"):
        series(first, last, points)


def test_buckets_are_whole():
    assert series(START + 1, START + 3 * HOUR + 1, 3) == Series(START, START + 4 * HOUR, HOUR)
    assert series(-1, 1, 2, least=DAY) == Series(-DAY, DAY, DAY)


def test_sizes_divide_a_span_or_are_multiples_of_it():
    assert list(SIZES) == sorted(SIZES)
    assert all(SPAN % size == 0 or size % SPAN == 0 for size in SIZES)
    assert not Series(0, DAY, SPAN).needs_blobs
    assert Series(0, DAY, 3 * HOUR).needs_blobs


def test_buckets_of_a_device():
    chunks = [
        encode([(START, 1.0), (START + 10, 3.0), (START + 2 * MINUTE, 7.0)]),
        encode([(START + 20, -4.0)], part=1),
        encode([(START + HOUR, 9.0)], part=2),
    ]
    recent = [(START + 2 * MINUTE + 1, 8.0), (START + 3 * MINUTE, 5.0)]
    assert device_buckets(Series(START, START + 3 * MINUTE, MINUTE), chunks, recent) == [
        Bucket(START, 3, -4.0, 0.0, 3.0),
        Bucket(START + 2 * MINUTE, 2, 7.0, 7.5, 8.0),
    ]


def test_a_chunk_that_is_shorter_than_a_bucket_may_be_in_two():
    chunk = encode([(START + MINUTE - 1, 1.0), (START + MINUTE, 3.0)])
    assert device_buckets(Series(START, START + HOUR, MINUTE), [chunk]) == [
        Bucket(START, 1, 1.0, 1.0, 1.0),
        Bucket(START + MINUTE, 1, 3.0, 3.0, 3.0),
    ]


def test_what_lies_in_one_bucket_needs_no_blob():
    chunks = [Chunk(2, 1.0, 3.0, 4.0, START, START + 9, b""), Chunk(1, 5.0, 5.0, 5.0, START + SPAN, START + SPAN, b"")]
    assert device_buckets(Series(START, START + DAY, SPAN), chunks) == [
        Bucket(START, 2, 1.0, 2.0, 3.0),
        Bucket(START + SPAN, 1, 5.0, 5.0, 5.0),
    ]


def test_a_mean_that_is_beyond_a_double_is_not_told():
    huge = encode([(START, 1.7e308), (START + 1, 1.7e308)])
    assert device_buckets(Series(START, START + DAY, DAY), [huge]) == [Bucket(START, 2, 1.7e308, None, 1.7e308)]


def test_buckets_of_a_fleet():
    hours = [(START + n * HOUR, Aggregate(2, float(n), n + 1.0, 2 * n + 1.0)) for n in range(4)]
    assert fleet_buckets(Series(START, START + 4 * HOUR, 2 * HOUR), hours) == [
        Bucket(START, 4, 0.0, 1.0, 2.0),
        Bucket(START + 2 * HOUR, 4, 2.0, 3.0, 4.0),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_pages_hold_each_point_once_and_say_whether_more_follow(limit):
    points = [(START + n // 2, float(n)) for n in range(20)]
    chunks = [encode([*points[:6], points[10]]), encode([*points[6:8], points[9], points[11]], part=1)]
    chunks.append(encode(points[12:18], part=2))
    recent = [points[8], *points[18:]]
    first, last = START + 1, START + 9
    expected = [point for point in points if first <= point[0] < last]
    found, after, more = [], None, True
    while more:
        some, more = page(chunks, recent, first, last, limit, after)
        assert len(some) == limit or not more
        found += some
        after = some[-1]
    assert found == expected


def test_a_page_reads_no_more_chunks_than_it_takes():
    def chunks():
        yield encode([(START, 1.0), (START + 1, 2.0)])
        yield encode([(START + 2, 3.0), (START + 3, 4.0)])
        yield encode([(START + 4, 5.0)])
        raise AssertionError("one chunk too many was read")

    assert page(chunks(), [], START, START + 10, 3) == ([(START, 1.0), (START + 1, 2.0), (START + 2, 3.0)], True)


def test_more_follow_where_a_page_ends_with_a_chunk():
    chunks = [encode([(START, 1.0), (START + 1, 2.0)]), encode([(START + 2, 3.0)])]
    assert page(chunks, [], START, START + 10, 2) == ([(START, 1.0), (START + 1, 2.0)], True)
    assert page(chunks, [], START, START + 10, 3)[1] is False


def test_a_page_of_nothing():
    assert page([], [], START, START + 1, 10) == ([], False)
