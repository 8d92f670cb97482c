from typing import Any

from .pack import Packer

ACCEPTED: int
MALFORMED: int
UNKNOWN_TAG: int
NOT_REGISTERED: int
REFUSED: int
UNKNOWN_PLAN: int
TOO_LARGE: int
GAVE_UP: int

def hello(p: Packer, tag: int, layout: Any, epoch: int | None, max_payload: int | None, flags: int) -> None: ...
def get(p: Packer, have: int | None, seq: int | None = None) -> None: ...
def uint(value: object) -> bool: ...
def ack(
    buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None
) -> tuple[int | None, int, int, str | None]: ...
