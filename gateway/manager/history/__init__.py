"""placeholder"""

import struct
from collections.abc import Iterable


def to_us(seconds: float) -> int:
    return round(seconds * 1e6)


def pack_samples(rows: Iterable[tuple[int, int, float]]) -> bytes:
    return b"".join(struct.pack("<Iqd", *row) for row in rows)
