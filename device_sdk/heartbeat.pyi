from collections.abc import Sequence
from typing import Any

class Packer:
    buf: bytearray
    """The buffer."""
    start: int
    """Where the data begins; before it is room for the head of a packet."""
    pos: int
    """Where the data ends."""
    at: int
    """Where the PUBLISH packet begins, once there is one."""
    def __init__(self, size: int, start: int) -> None: ...
    def put(self, code: int, size: int = 0, n: int = 0, bits: int = 0) -> None: ...
    def any(self, value: float | str | Sequence[Any] | None) -> bool: ...

class Heartbeat:
    keep: int
    """How many samples can wait."""
    now: int
    """Whole seconds: the time of the last call that had one. A sample without a time of its own gets it."""
    layout: Sequence[Any]
    """The layout."""
    map: dict[str, tuple[list[Any], int]]
    """Where a metric's samples go in `hb`, as list and index, by each name that was used for it."""
    size: int
    """How many metrics the layout has, those of its models too."""
    hb: list[Any]
    """The array of the heartbeat that is written."""
    items: list[Any]
    """Ring of the waiting samples: of each its place in `hb`, its value and its time."""
    since: int
    """When the last heartbeat was written, as `now` counts."""
    index: int
    """Place of the oldest sample in the ring."""
    count: int
    """How many samples wait."""
    taken: int
    """How many of them the last heartbeat has."""
    lost: list[int]
    """How many samples were dropped before they were sent, and the time of the newest of them, as `now` counts."""
    def __init__(self, layout: Sequence[Any], keep: int) -> None: ...
    def sample(self, name: str, value: float, now: int | None = None) -> None: ...
    def find(self, name: str) -> tuple[list[Any], int]:
        """Where the samples of a metric go in `hb`. Raises as `sample` does."""
    def inference(self, model: int = 0, sampled: int | None = None) -> None: ...
    def pop(self, n: int) -> None:
        """Drops the n oldest samples."""
    def fill(self, now: int | None) -> None:
        """Puts the samples that the heartbeat takes into `hb`; now None: takes them out again."""
    def pack(self, p: Packer, now: int) -> None: ...
