from collections.abc import Callable, Sequence
from typing import Any

from .heartbeat import Heartbeat, Packer
from .plan import Definition, Plan

_Callback = Callable[[Definition], object] | None

def read(buf: bytes | memoryview, at: int, depth: int) -> tuple[Any, int]: ...
def unpack(payload: bytes | bytearray | memoryview) -> Any: ...

class Agent(Heartbeat):
    call: dict[int, _Callback]
    measure: Callable[[Agent], object] | None
    interval: int
    store: Callable[..., Any] | None
    max_payload: int | None
    files: str | None
    open: int
    fetch: bool
    bad: int
    error: Exception | None
    code: int | None
    detail: str | None
    tag: int | None
    epoch: int | None
    have: int | None
    result: list[Any] | None
    said: int | None
    hash: int
    digest: int | None
    plan: Plan
    done: list[int]
    file: Definition | None
    replace: bool
    seq: int
    due: int
    at: int
    shift: int
    def __init__(
        self,
        layout: Sequence[Any],
        install: _Callback = None,
        remove: _Callback = None,
        measure: Callable[[Agent], object] | None = None,
        interval: int = 60,
        store: Callable[..., Any] | None = None,
        max_payload: int | None = 1024,
        keep: int = 32,
        files: str | None = None,
        vitals: bool = False,
    ) -> None: ...
    def start(self, now: int, unix: int | None, tag: int, woke: bool, p: Packer | None = None) -> None: ...
    def clock(self, now: int, unix: int | None) -> None: ...
    def wait(self, now: int) -> int: ...
    @property
    def busy(self) -> bool: ...
    def update(self, now: int) -> None: ...
    def poll(self, now: int, p: Packer) -> str | None: ...
    def hello(self, p: Packer, tag: int | None, epoch: int | None) -> None: ...
    def sent(self, channel: str) -> None: ...
    def receive(self, channel: str | None, payload: bytes | memoryview) -> None: ...
    def ack(self, value: list[Any]) -> None: ...
    def work(self, clock: Callable[[], int]) -> bool: ...
    def save(self, sleep: float | None) -> None: ...
