from typing import Any, BinaryIO

from .agent import Definition
from .pack import Packer

class File:
    step: Definition
    of: tuple[int, int]
    length: int
    refusals: int
    path: str
    part: str
    sum: Any
    at: int
    file: BinaryIO
    whole: bool
    asked: int | None
    until: int
    def __init__(self, step: Definition, digest: int, index: int, folder: str, most: int | None) -> None: ...
    def poll(self, p: Packer, now: int) -> str | None: ...
    def refused(self, reason: str | None) -> None: ...
    def fail(self, reason: str) -> None: ...
    def receive(self, digest: int, index: int, offset: int, total: int, data: bytes) -> None: ...
