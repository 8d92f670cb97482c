from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .heartbeat import Heartbeat
from .pack import Packer
from .plan import Definition, Plans

class _Store(Protocol):
    def load(self) -> Any: ...
    def save(self, value: Any) -> None: ...

class Agent(Heartbeat):
    plans: Plans | None
    interval: int
    store: _Store | None
    max_payload: int | None
    measure: Callable[[Agent], object] | None
    fetch: bool
    seq: int
    bad: int
    error: Exception | None
    code: int | None
    detail: str | None
    hello: bool
    tag: int
    epoch: int | None
    due: int
    shift: int
    def __init__(
        self,
        layout: Sequence[Any],
        install: Callable[[Definition], object] | None = None,
        remove: Callable[[Definition], object] | None = None,
        measure: Callable[[Agent], object] | None = None,
        interval: int = 60,
        store: _Store | None = None,
        max_payload: int | None = 1024,
        urls: bool = True,
        keep: int = 32,
        files: str | None = None,
    ) -> None: ...
    def start(self, now: int, unix: int | None, tag: int, woke: bool) -> None: ...
    def clock(self, now: int, unix: int | None) -> None: ...
    def wait(self, now: int) -> int: ...
    def poll(self, now: int, p: Packer) -> str | None: ...
    def sent(self, channel: str) -> None: ...
    def receive(self, channel: str, buf: bytes | bytearray | memoryview, start: int, end: int) -> None: ...
    def save(self, slept: int | None = None) -> None: ...
