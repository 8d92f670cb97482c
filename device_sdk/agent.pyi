from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .heartbeat import Heartbeat
from .pack import Packer
from .plan import Definition, Plans

HELLO: str
HB: str
GET: str

class _Store(Protocol):
    def load(self) -> Any: ...
    def save(self, value: Any) -> None: ...

class Agent:
    heartbeat: Heartbeat
    plans: Plans | None
    max_payload: int | None
    now: int
    tag: int | None
    epoch: int | None
    bad: int
    failed: Exception | None
    unsaved: OSError | None
    code: int
    detail: str | None
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
    ) -> None: ...
    def start(self, now: int, unix: int | None, tag: int) -> None: ...
    def set_clock(self, now: int, unix: int | None) -> None: ...
    def sample(self, metric: int | str, value: float, now: int | None = None) -> None: ...
    def inference(self, model: int | str, now: int | None = None) -> None: ...
    def fetch(self) -> None: ...
    def wait(self, now: int) -> int: ...
    def poll(self, now: int, p: Packer) -> str | None: ...
    def sent(self, channel: str) -> None: ...
    def receive(
        self, channel: str, buf: bytes | bytearray | memoryview, start: int = 0, end: int | None = None
    ) -> None: ...
    def work(self, clock: Callable[[], int]) -> bool: ...
