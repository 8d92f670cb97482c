"""The samples of one metric of a device in one span <-> a compressed blob. No I/O, no clock.

A blob is the byte FORMAT, a byte that counts segments, and a zlib stream of the segments, each later than the one
before. A segment is a head (_HEAD, little-endian), the bytes of the times and the bytes of the values. Head: the count;
the number of decimals of the values, or RAW; a column for the times, and one for the values.

The integers of a column are the times, the values without their decimal point (RAW: the bits of the doubles), or how
much each of these differs from the one before. Written is `(integer - least) / step`, in so many bytes as the largest
needs: first the lowest byte of each, then the next one, so that like bytes lie together. Column: whether they are
differences; bytes of an integer; the first of all, where they are differences; `least`; `step`.

Most sensors send decimals, such as 21.37. As integers they take a third of the bytes that their doubles take. That is
done only where it gives back the same bits.
"""

import math
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import sub

from gateway.manager.history.aggregates import Aggregate, Point, combined, of_values
from gateway.manager.history.samples import HOUR

SPAN = 6 * HOUR
"""Microseconds. Spans count from 1970 on: a sample belongs to the span `at // SPAN * SPAN`."""
FULL = 4096
"""Samples of a part, at most. One with more than half of it is not written again: a fast device would rewrite much."""
SEGMENTS = 8
"""At most so many are in a blob. Later samples are appended as a segment, which costs less than making one of all."""
SMALL = 48
"""Nothing is appended to fewer samples: making one segment of all costs little then, and saves half of the bytes."""
FORMAT = 1
RAW = 255

_HEAD = struct.Struct("<IB?BqqQ?BqqQ")
_SCALES = [10.0**decimals for decimals in range(10)]
_EXACT = 2.0**53
_Column = tuple[bool, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Chunk(Aggregate):
    """A part of a span: its samples and their aggregate. `first`, `last`: the times of the earliest and the latest.

    The parts of a span are numbered from 0 on; the last one alone may be less than full. Their times may overlap, and
    no sample is in two. `blob` may be left empty where aggregates alone are read.
    """

    first: int
    last: int
    blob: bytes
    part: int = 0


def encode(points: Sequence[Point], part: int = 0) -> Chunk:
    """`points`: one at least, each once, in order."""
    total, segment = _segment(points)
    return Chunk(total.count, total.min, total.max, total.sum, points[0][0], points[-1][0], _blob(1, segment), part)


def decode(blob: bytes) -> list[Point]:
    """The points in order. Raises ValueError or zlib.error: another format, or a damaged blob."""
    if blob[:1] != bytes((FORMAT,)):
        raise ValueError(f"no chunk of format {FORMAT}, but one that begins {blob[:1]!r}")
    points: list[Point] = []
    body, at = zlib.decompress(blob[2:]), 0
    for _ in range(blob[1]):
        some, at = _points(body, at)
        points += some
    return points


def new_points(chunks: Sequence[Chunk], points: Sequence[Point]) -> list[Point]:
    """Those of `points`, in any order and any number of times, that no chunk has: each once, in order.

    Equal are those of equal time and value; 0.0 and -0.0 are equal. Only chunks in whose time a point lies are decoded.
    """
    ordered = sorted(points)
    new = ordered[:1] + [point for before, point in pairwise(ordered) if point != before]
    for chunk in chunks:
        at = bisect_left(new, (chunk.first, -math.inf))
        if at < len(new) and new[at][0] <= chunk.last:
            known = set(decode(chunk.blob))
            new = [point for point in new if point not in known]
    return new


def merge(chunks: Sequence[Chunk], points: Sequence[Point]) -> tuple[list[Chunk], list[Point]]:
    """All parts of a span, and points of this span -> the parts to write, by number, and the points that were new."""
    new = new_points(chunks, points)
    if not new:
        return [], []
    newest = max(chunks, key=lambda chunk: chunk.part, default=None)
    if newest is None or newest.count > FULL // 2:
        held, part = new, 0 if newest is None else newest.part + 1
    elif newest.last < new[0][0] and _takes_segment(newest) and newest.count + len(new) <= FULL:
        return [_appended(newest, new)], new
    else:
        held, part = sorted(decode(newest.blob) + new), newest.part
    return [encode(held[at : at + FULL], part + at // FULL) for at in range(0, len(held), FULL)], new


def _takes_segment(chunk: Chunk) -> bool:
    return chunk.count >= SMALL and chunk.blob[1] < SEGMENTS


def _appended(chunk: Chunk, points: Sequence[Point]) -> Chunk:
    """`points`: later than those of the chunk."""
    added, segment = _segment(points)
    total = combined(chunk, added)
    blob = _blob(chunk.blob[1] + 1, zlib.decompress(chunk.blob[2:]) + segment)
    return Chunk(total.count, total.min, total.max, total.sum, chunk.first, points[-1][0], blob, chunk.part)


def _blob(segments: int, body: bytes) -> bytes:
    deflate = zlib.compressobj(level=4, memLevel=6)  # two thirds of level 6's time, for 3 % more bytes
    return bytes((FORMAT, segments)) + deflate.compress(body) + deflate.flush()


def _segment(points: Sequence[Point]) -> tuple[Aggregate, bytes]:
    times, values = zip(*points, strict=True)
    total = of_values(values)
    decimals, integers = _integers(values, max(total.max, -total.min))
    times_column, times_planes = _pack_times(times)
    values_column, values_planes = _pack_values(integers)
    head = _HEAD.pack(len(times), decimals, *times_column, *values_column)
    return total, b"".join((head, *times_planes, *values_planes))


def _points(body: bytes, at: int) -> tuple[Iterable[Point], int]:
    """Of the segment that begins at `at`, and where it ends."""
    count, decimals, *columns = _HEAD.unpack_from(body, at)
    times, at = _unpack(body, at + _HEAD.size, count, *columns[:5])
    integers, at = _unpack(body, at, count, *columns[5:])
    values: Sequence[float]
    if decimals == RAW:
        values = struct.unpack(f"<{count}d", struct.pack(f"<{count}q", *integers))
    else:
        scale = _SCALES[decimals]
        values = [integer / scale for integer in integers]
    return zip(times, values, strict=True), at


def _integers(values: Sequence[float], largest: float) -> tuple[int, Sequence[int]]:
    """How many decimals suffice for all values, and the values times that power of ten; or RAW, and their bits.

    `largest`: the greatest that a value is, whatever its sign.
    """
    doubles = f"<{len(values)}d"
    bits = struct.pack(doubles, *values)
    probes = values[:: len(values) // 8 + 1]
    for decimals, scale in enumerate(_SCALES):
        if largest * scale >= _EXACT:
            break
        if all(round(value * scale) / scale == value for value in probes):
            integers = [round(value * scale) for value in values]
            if struct.pack(doubles, *[integer / scale for integer in integers]) == bits:
                return decimals, integers
    return RAW, struct.unpack(f"<{len(values)}q", bits)


@lru_cache(maxsize=4)  # the metrics of a device follow one another, and most have the times of their heartbeats
def _pack_times(times: Sequence[int]) -> tuple[_Column, list[bytes]]:
    return _pack(list(map(sub, times[1:], times)), times[0])


def _pack_values(integers: Sequence[int]) -> tuple[_Column, list[bytes]]:
    """As differences where these are smaller by half: those of random values are not, and would be no gain."""
    changes = list(map(sub, integers[1:], integers))
    least = min(integers)
    if 2 * sum(map(abs, changes)) < sum(integers) - least * len(integers) and max(integers) - least < 1 << 63:
        return _pack(changes, integers[0])
    return _pack(integers, None)


def _pack(integers: Sequence[int], first: int | None) -> tuple[_Column, list[bytes]]:
    """The column, and its bytes. `first`: what the differences `integers` start from; None: they are none."""
    least, greatest, step = min(integers, default=0), max(integers, default=0), 1
    if least == greatest:
        return (first is not None, 0, first or 0, least, step), []
    offsets = [integer - least for integer in integers]
    step = math.gcd(*offsets)
    if step > 1:
        offsets = [offset // step for offset in offsets]
    width = (((greatest - least) // step).bit_length() + 7) // 8
    raw = struct.pack(f"<{len(offsets)}Q", *offsets)
    return (first is not None, width, first or 0, least, step), [raw[at::8] for at in range(width)]


def _unpack(
    body: bytes, at: int, count: int, differ: bool, width: int, first: int, least: int, step: int
) -> tuple[Sequence[int], int]:
    """The `count` integers of a column whose bytes begin at `at`, and where they end."""
    written = count - differ
    raw = bytearray(8 * written)
    for plane in range(width):
        raw[plane::8] = body[at : at + written]
        at += written
    offsets = struct.unpack(f"<{written}Q", raw)
    integers = [offset * step + least for offset in offsets] if step > 1 else [offset + least for offset in offsets]
    return (list(accumulate(integers, initial=first)) if differ else integers), at
