from collections.abc import Sequence
from typing import Any

from .pack import Packer

class Heartbeat:
    keep: int
    now: int
    hb: list[Any]
    since: int
    index: int
    count: int
    taken: int
    def __init__(self, layout: Sequence[Any], keep: int) -> None: ...
    def sample(self, name: str, value: float, now: int | None = None) -> None: ...
    def inference(self, model: int = 0, sampled: int | None = None) -> None: ...
    def pop(self, n: int) -> None: ...
    def pack(self, p: Packer, now: int) -> None: ...
