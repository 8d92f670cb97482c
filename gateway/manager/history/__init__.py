"""placeholder"""

import struct
from collections.abc import Iterable, Iterator


def to_us(seconds: float) -> int:
    return round(seconds * 1e6)


def pack_samples(rows: Iterable[tuple[int, int, float]]) -> bytes:
    return b"".join(struct.pack("<Iqd", *row) for row in rows)


def unpack_samples(blob: bytes) -> Iterator[tuple[int, int, float]]:
    return struct.iter_unpack("<Iqd", blob)
