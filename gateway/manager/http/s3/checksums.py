"""The checksums that S3's clients send with a body. No I/O.

CRC-32C and CRC-64/NVME are none of Python's library. A byte at a time they would take a second for 10 MB; here a block
is one large integer that is folded in halves, with the multiplications that Python does for large integers by
shifting: some 100 MB a second.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

BLOCK = 64 * 1024


class Checksum(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class Crc:
    """A CRC of `width` bits whose bits are reflected, with all bits set at its beginning and inverted at its end."""

    def __init__(self, width: int, polynomial: int) -> None:
        self._width, self._polynomial = width, polynomial
        self._ones = (1 << width) - 1
        self._value = self._ones

    def update(self, data: bytes, /) -> None:
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            self._value = self._reduce(int.from_bytes(block, "little") ^ self._value, 8 * len(block))

    def digest(self) -> bytes:
        return (self._value ^ self._ones).to_bytes(self._width // 8, "big")

    def _reduce(self, bits: int, count: int) -> int:
        """The remainder of so many bits, of which the lowest has the highest power."""
        width, polynomial = self._width, self._polynomial
        while count > 3 * width:
            kept = (count + width + 1) // 2
            high = bits & ((1 << count - kept) - 1)
            factor, product = _power(kept, width, polynomial), 0
            for position in range(width):
                if factor >> position & 1:
                    product ^= high << position
            bits = (bits >> count - kept) ^ (product << 2 * kept - count - width + 1)
            count = kept
        for _ in range(count):
            bits = (bits >> 1) ^ polynomial if bits & 1 else bits >> 1
        return bits


@lru_cache(1024)
def _power(exponent: int, width: int, polynomial: int) -> int:
    """x to that power, modulo the polynomial."""
    result, square = 1 << width - 1, 1 << width - 2
    while exponent:
        if exponent & 1:
            result = _multiply(result, square, width, polynomial)
        square = _multiply(square, square, width, polynomial)
        exponent >>= 1
    return result


def _multiply(one: int, other: int, width: int, polynomial: int) -> int:
    product = 0
    for position in reversed(range(width)):
        if one >> position & 1:
            product ^= other
        other = (other >> 1) ^ polynomial if other & 1 else other >> 1
    return product


ALGORITHMS: Mapping[str, Callable[[], Checksum]] = {
    "crc32": _Crc32,
    "crc32c": lambda: Crc(32, 0x82F63B78),
    "crc64nvme": lambda: Crc(64, 0x9A6C9329AC4BC9B5),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}
"""By the last part of the header's name, `x-amz-checksum-…`."""
FULL_OBJECT = frozenset(("crc32", "crc32c", "crc64nvme"))
"""Those of which S3 knows a checksum of a whole object that was put in parts."""
PREFIX = "x-amz-checksum-"


def encoded(checksum: Checksum) -> str:
    """As it is in a header."""
    return base64.b64encode(checksum.digest()).decode()
