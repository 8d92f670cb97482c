"""The samples of one heartbeat -> a blob, and back: quick to write, as it is read once and lives an hour. No I/O.

A sample takes 20 bytes, little-endian: metric id (uint32), time (int64), value (double).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

MetricSample = tuple[int, int, float]
"""Metric id, time in microseconds since 1970, value. A value is finite."""

_ROW = struct.Struct("<Iqd")


def pack_samples(samples: Iterable[MetricSample]) -> bytes:
    """Blobs may be joined: what `unpack_samples` gives of them is then joined too."""
    return b"".join(starmap(_ROW.pack, samples))


def unpack_samples(blob: bytes) -> Iterator[MetricSample]:
    """The samples in their order. Raises struct.error: no such blob."""
    return _ROW.iter_unpack(blob)


def split_samples(blob: bytes) -> set[bytes]:
    """The blob of each sample, once; 0.0 and -0.0 differ."""
    return set(struct.unpack(f"{_ROW.size}s" * (len(blob) // _ROW.size), blob))


def distinct_samples(blob: bytes) -> bytes:
    """The blob itself, or one that has each sample once."""
    samples = split_samples(blob)
    return blob if len(samples) * _ROW.size == len(blob) else b"".join(samples)


def sample_columns(blob: bytes) -> tuple[Sequence[int], Sequence[int], Sequence[float]]:
    """The metric ids, the times and the values of all samples."""
    members = struct.unpack("<" + "Iqd" * (len(blob) // _ROW.size), blob)
    return members[::3], members[1::3], members[2::3]
