"""The samples of one metric of a device in one span <-> a compressed blob. No I/O, no clock.

A blob is the byte FORMAT and a zlib stream of: the count (uint32), the column of times, the number of decimals of the
values (one byte; RAW: there is none, and each value is the integer that its bits are), the column of values. A column
of integers is written as differences where these are smaller, less their least, byte by byte: first the lowest byte of
each, then the next one, so that like bytes lie together.

Most sensors send decimals, such as 21.37. As integers they take a third of the bytes that their doubles take. That is
done only where it gives back the same bits.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import sub

from gateway.manager.history.aggregates import Aggregate, Point, aggregate
from gateway.manager.history.samples import HOUR

SPAN = 6 * HOUR
"""Microseconds. Spans count from 1970 on: a sample belongs to the span `at // SPAN * SPAN`."""
FULL = 4096
"""Samples of a part. A full one is never written again, so that a fast device costs no more than its samples."""
FORMAT = 1
RAW = 255

_SCALES = [10**decimals for decimals in range(10)]
_EXACT = 2.0**53
_INTEGER = 9
"""Bytes of an integer that needs more than 64 bits: a difference of two of 64 bits."""


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
    times, values = zip(*points, strict=True)
    packed = struct.pack(f"<{len(values)}d", *values)
    decimals, integers = _integers(values, packed)
    body = len(times).to_bytes(4, "little") + _pack(times) + bytes((decimals,)) + _pack(integers)
    # Like bytes come in runs, and seldom is there more to find: other strategies take twice the time for as many bytes.
    deflate = zlib.compressobj(memLevel=6, strategy=zlib.Z_RLE)
    blob = bytes((FORMAT,)) + deflate.compress(body) + deflate.flush()
    total = aggregate(points)
    return Chunk(total.count, total.min, total.max, total.sum, times[0], times[-1], blob, part)


def decode(blob: bytes) -> list[Point]:
    """The points in order. Raises ValueError: another format; zlib.error: a damaged blob."""
    if blob[0] != FORMAT:
        raise ValueError(f"chunk of format {blob[0]}, and not {FORMAT}")
    body = zlib.decompress(memoryview(blob)[1:])
    count = int.from_bytes(body[:4], "little")
    times, end = _unpack(body, 4, count)
    integers, _ = _unpack(body, end + 1, count)
    if body[end] == RAW:
        values: Sequence[float] = struct.unpack(f"<{count}d", struct.pack(f"<{count}q", *integers))
    else:
        scale = _SCALES[body[end]]
        values = [integer / scale for integer in integers]
    return list(zip(times, values, strict=True))


def new_points(chunks: Sequence[Chunk], points: Sequence[Point]) -> list[Point]:
    """Those of `points`, in any order and any number of times, that no chunk has: each once, in order.

    Equal are those of equal time and value; 0.0 and -0.0 are equal.
    """
    ordered = sorted(points)
    new = ordered[:1] + [point for before, point in pairwise(ordered) if point != before]
    for chunk in chunks:
        if new and chunk.first <= new[-1][0] and new[0][0] <= chunk.last:
            known = set(decode(chunk.blob))
            new = [point for point in new if point not in known]
    return new


def merge(chunks: Sequence[Chunk], points: Sequence[Point]) -> tuple[list[Chunk], list[Point]]:
    """All parts of a span, and points of this span -> the parts to write, by number, and the points that were new."""
    new = new_points(chunks, points)
    if not new:
        return [], []
    held, part = new, 0
    if chunks:
        newest = max(chunks, key=lambda chunk: chunk.part)
        part = newest.part + 1
        if newest.count < FULL:
            part = newest.part
            held = sorted(decode(newest.blob) + new)
    return [encode(held[at : at + FULL], part + at // FULL) for at in range(0, len(held), FULL)], new


def _integers(values: Sequence[float], packed: bytes) -> tuple[int, Sequence[int]]:
    """The decimals that all values have, and the values as integers of the last of these; or RAW, and the bits."""
    largest = max(max(values), -min(values))
    probes = values[:: len(values) // 8 + 1]
    for decimals, scale in enumerate(_SCALES):
        if largest * scale >= _EXACT:
            break
        if all(round(value * scale) / scale == value for value in probes):
            integers = [round(value * scale) for value in values]
            if struct.pack(f"<{len(values)}d", *[integer / scale for integer in integers]) == packed:
                return decimals, integers
    return RAW, struct.unpack(f"<{len(values)}q", packed)


def _pack(integers: Sequence[int]) -> bytes:
    """Its first byte: how many bytes an integer takes, and 16 more where they are differences."""
    least, first = min(integers), b""
    differences = list(map(sub, integers[1:], integers))
    # Random values have differences of two thirds of what they have themselves, on average: these are no gain.
    if 2 * sum(map(abs, differences)) < sum(integers) - least * len(integers):
        low = min(differences)
        if max(differences) - low < 1 << 64:
            first = integers[0].to_bytes(_INTEGER, "little", signed=True)
            integers, least = differences, low
    count = len(integers)
    width = ((max(integers) - least).bit_length() + 7) // 8
    raw = struct.pack(f"<{count}Q", *[integer - least for integer in integers]) if width else b""
    planes = [raw[at::8] for at in range(width)]
    head = bytes((width | bool(first) << 4,)) + least.to_bytes(_INTEGER, "little", signed=True)
    return b"".join((head, first, *planes))


def _unpack(body: bytes, at: int, count: int) -> tuple[Sequence[int], int]:
    """The column of `count` integers that begins at `at`, and where it ends."""
    width, differ = body[at] & 15, body[at] >> 4
    at += 1
    least = int.from_bytes(body[at : at + _INTEGER], "little", signed=True)
    at += _INTEGER
    if differ:
        first = int.from_bytes(body[at : at + _INTEGER], "little", signed=True)
        at += _INTEGER
        count -= 1
    raw = bytearray(8 * count)
    for plane in range(width):
        raw[plane::8] = body[at : at + count]
        at += count
    integers = [integer + least for integer in struct.unpack(f"<{count}Q", raw)]
    return (list(accumulate(integers, initial=first)) if differ else integers), at
