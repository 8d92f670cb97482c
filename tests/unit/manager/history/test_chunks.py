"""Samples of a span as a blob, and merging."""

import random
import zlib

import pytest

from gateway.manager.history import FULL, HOUR, MINUTE, SECOND, Chunk, decode, encode, merge, new_points

START = 20_700 * 86_400 * SECOND


def exact(points):
    """With the bits of the values."""
    return [(at, value.hex()) for at, value in points]


def points(count, begin=0, interval=MINUTE):
    return [(START + (begin + n) * interval, round(20 + (begin + n) % 7 / 10, 1)) for n in range(count)]


def everything(chunks):
    return sorted(point for chunk in chunks for point in decode(chunk.blob))


def stored(chunks, written):
    """The parts of a span after those that were written."""
    return [*({chunk.part: chunk for chunk in chunks} | {chunk.part: chunk for chunk in written}).values()]


VALUES = {
    "one": [21.37],
    "constant": [3.7] * 50,
    "zeros of both signs": [0.0, -0.0, 0.0],
    "integers": [float(n * n) for n in range(50)],
    "decimals": [n / 100 for n in range(-300, 300, 7)],
    "nine decimals": [n / 10**9 for n in range(50)],
    "few decimals first": [20.0] * 20 + [20.123],
    "decimals among which one has none": [n / 10 for n in range(40)] + [1 / 3],
    "more than decimals have": [1e300, 1.5, -1e300],
    "the largest": [1.7976931348623157e308, -1.7976931348623157e308] * 5,
    "subnormal": [5e-324, -5e-324, 2.2e-308],
    "slow doubles": [20 + n / 3 for n in range(50)],
    "integers beyond a double's": [2.0**53 + 2 * n for n in range(20)],
    "multiples": [float(n % 3) * 256 for n in range(50)],
    "bits that are far apart": [1.0, -1.0] * 5 + [2.0] * 50,
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_points_come_back_to_the_bit(values):
    given = [(START + n * SECOND, value) for n, value in enumerate(values)]
    assert exact(decode(encode(given).blob)) == exact(given)


@pytest.mark.parametrize(
    "times",
    [
        [-62_135_596_800_000_000],
        [-62_135_596_800_000_000, 253_402_300_799_999_999],
        [7, 7, 8, 1_000_000],
        [n * MINUTE + n % 2 * SECOND for n in range(100)],
        [n * MINUTE + n * n % 1000 for n in range(100)],
    ],
)
def test_times_come_back(times):
    given = [(at, float(number)) for number, at in enumerate(times)]
    assert decode(encode(given).blob) == given


def test_a_chunk_has_the_aggregate_of_its_points():
    chunk = encode([(5, 2.5), (5, 3.0), (9, -1.0)], part=3)
    assert (chunk.first, chunk.last, chunk.count, chunk.min, chunk.max, chunk.sum) == (5, 9, 3, -1.0, 3.0, 4.5)
    assert chunk.part == 3


def test_what_sensors_send_takes_few_bytes():
    """Once a minute at whole seconds, one of ten a second late; slow values of two decimals, and random ones."""
    chance = random.Random(1)
    value, slow, wild = 20.0, [], []
    for n in range(360):
        value += chance.gauss(0, 0.05)
        at = START + n * MINUTE + SECOND * (chance.random() < 0.1)
        slow.append((at, round(value, 2)))
        wild.append((at, round(chance.random() * 100, 2)))
    assert len(encode(slow).blob) < 1.1 * 360
    assert len(encode(wild).blob) < 2.4 * 360


def test_a_random_byte_takes_little_more_than_a_byte():
    """Its differences would take nine bits, and so two bytes each."""
    chance = random.Random(1)
    assert len(encode([(START + n * MINUTE, chance.randrange(256) / 100) for n in range(360)]).blob) < 1.25 * 360


@pytest.mark.parametrize("blob", [b"", b"\2" + encode([(1, 2.0)]).blob[1:]])
def test_another_format_is_an_error(blob):
    with pytest.raises(ValueError, match="no chunk of format 1"):
        decode(blob)


@pytest.mark.parametrize("damage", [lambda blob: blob[:-1], lambda blob: blob[:-1] + bytes((blob[-1] ^ 1,))])
def test_a_damaged_blob_is_an_error(damage):
    with pytest.raises(zlib.error):
        decode(damage(encode(points(50)).blob))


def test_new_are_those_that_no_chunk_has_each_once_in_order():
    chunks = [encode(points(10)), encode(points(10, 20), part=1)]
    given = [*points(3, 28), *points(3, 8), *points(3, 28)]
    assert new_points(chunks, given) == [points(1, 10)[0], points(1, 30)[0]]
    assert new_points(chunks, points(5)) == []
    assert new_points([], []) == []


def test_only_chunks_in_whose_time_a_point_lies_are_decoded():
    unread = Chunk(2, 1.0, 1.0, 2.0, START + 5, START + 9, b"")
    assert new_points([unread], [(START + 4, 1.0), (START + 10, 1.0)]) == [(START + 4, 1.0), (START + 10, 1.0)]
    for at in (START + 5, START + 9):
        with pytest.raises(ValueError, match="no chunk"):
            new_points([unread], [(START, 1.0), (at, 1.0)])


def test_two_values_at_one_time_are_two_samples_and_equal_ones_are_one():
    chunks, new = merge([], [(7, 2.0), (7, 1.0), (7, 2.0)])
    assert new == [(7, 1.0), (7, 2.0)]
    assert merge(chunks, [(7, 1.0), (7, 3.0)])[1] == [(7, 3.0)]


def test_the_two_zeros_are_equal():
    chunks, new = merge([], [(7, -0.0), (7, 0.0)])
    assert exact(new) == exact([(7, -0.0)])
    assert merge(chunks, [(7, 0.0)]) == ([], [])


def test_nothing_is_written_where_nothing_is_new():
    chunks, _ = merge([], points(60))
    assert merge(chunks, points(20, 10)) == ([], [])
    assert merge([], []) == ([], [])


def test_later_samples_are_appended_and_a_few_times_only():
    chunks, _ = merge([], points(60))
    segments = []
    for hour in range(1, 10):
        ((chunk,), new) = merge(chunks, points(60, 60 * hour))
        assert new == points(60, 60 * hour)
        assert (chunk.count, chunk.first, chunk.last) == (60 * hour + 60, START, new[-1][0])
        assert chunk.sum == pytest.approx(sum(value for _, value in points(60 * hour + 60)))
        assert decode(chunk.blob) == points(60 * hour + 60)
        segments.append(chunk.blob[1])
        chunks = [chunk]
    assert segments == [2, 3, 4, 5, 6, 7, 8, 1, 2]


def test_what_is_as_late_as_the_last_sample_is_not_appended():
    chunks, _ = merge([], [*points(60), (START + HOUR, 5.0)])
    ((chunk,), _) = merge(chunks, [(START + HOUR, 1.0)])
    assert decode(chunk.blob) == [*points(60), (START + HOUR, 1.0), (START + HOUR, 5.0)]


def test_a_small_part_is_made_anew():
    chunks, _ = merge([], points(6))
    ((chunk,), _) = merge(chunks, points(6, 6))
    assert chunk == encode(points(12))


def test_late_samples_take_their_place():
    chunks, _ = merge([], points(60, 60))
    ((chunk,), new) = merge(chunks, points(60, 30))
    assert new == points(30, 30)
    assert chunk == encode(points(90, 30))


def test_a_part_that_is_more_than_half_full_is_left_alone():
    chunks, _ = merge([], points(FULL // 2 + 1))
    more = points(10, FULL // 2 + 1)
    written, _ = merge(chunks, [*points(20), *more])
    assert written == [encode(more, part=1)]


def test_a_late_sample_goes_into_the_newest_part():
    chunks, _ = merge([], points(FULL + 10))
    assert [(chunk.part, chunk.count) for chunk in chunks] == [(0, FULL), (1, 10)]
    late = (START + 1, 5.0)
    written, new = merge(chunks, [late, points(1)[0]])
    assert new == [late]
    assert [(chunk.part, chunk.count, chunk.first) for chunk in written] == [(1, 11, START + 1)]
    assert everything(stored(chunks, written)) == sorted([*points(FULL + 10), late])


def test_a_part_that_would_be_more_than_full_is_divided():
    chunks, _ = merge([], points(FULL // 2))
    written, _ = merge(chunks, points(FULL, FULL // 2))
    assert [(chunk.part, chunk.count) for chunk in written] == [(0, FULL), (1, FULL // 2)]
    assert everything(written) == points(FULL + FULL // 2)


def test_a_chunk_without_its_blob_is_one_of_aggregates():
    assert Chunk(1, 2.0, 2.0, 2.0, 7, 7, b"").mean() == 2.0
