from collections.abc import Sequence
from typing import Any

class Packer:
    buf: bytearray
    start: int
    pos: int
    def __init__(self, size: int, start: int) -> None: ...
    def put(self, code: int, size: int = 0, n: int = 0, bits: int = 0) -> None: ...
    def any(self, value: int | float | str | Sequence[Any] | None) -> bool: ...
