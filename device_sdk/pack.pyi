from collections.abc import Sequence
from typing import Any

class Packer:
    buf: bytearray
    start: int
    pos: int
    def __init__(self, size: int, start: int) -> None: ...
    def put(self, code: int, size: int, n: int, bits: int) -> None: ...
    def any(self, value: int | float | str | Sequence[Any] | None) -> bool: ...
