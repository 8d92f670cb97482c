from collections.abc import Sequence
from typing import Any

from .pack import Packer
from .samples import Samples

class Heartbeat:
    layout: Sequence[Any]
    samples: Samples
    def __init__(self, layout: Sequence[Any], keep: int) -> None: ...
    def slot(self, metric: int | str) -> int: ...
    def sample(self, metric: int | str, value: float, now: int) -> None: ...
    def inference(self, model: int | str, now: int) -> None: ...
    def settle(self) -> None: ...
    def release(self) -> None: ...
    def pack(
        self,
        p: Packer,
        tag: int,
        time: int,
        now: int,
        have: int | None = None,
        result: list[Any] | None = None,
        seq: int | None = None,
    ) -> bool: ...
