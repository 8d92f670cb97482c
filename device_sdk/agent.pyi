from collections.abc import Callable, Sequence
from typing import Any

from .heartbeat import Heartbeat, Packer
from .plan import Definition, Plan

_Callback = Callable[[Definition], object] | None

def read(buf: bytes | memoryview, at: int, depth: int) -> tuple[Any, int]:
    """The msgpack object that begins at `at`, and its end: beyond the end of `buf` if it is incomplete."""

def unpack(payload: bytes | bytearray | memoryview) -> Any: ...

class Agent(Heartbeat):
    call: dict[int, _Callback]
    """`remove` and `install`, by a definition's state: 0 and 1."""
    measure: Callable[[Agent], object] | None
    """Called with the agent when a heartbeat is due, to take samples; None: the program takes them itself."""
    interval: int
    """Seconds between heartbeats."""
    store: Callable[..., Any] | None
    """`store(text)` saves the state, `store()` returns it; None: nothing is saved."""
    max_payload: int | None
    """Largest payload in bytes that the device takes; None: any."""
    files: str | None
    """Where model files go: the file of a model is `files` + handle. None: the device fetches them by its own means."""
    open: int
    """How many connections the port has opened."""
    fetch: bool
    """Whether the plan is to be asked for."""
    bad: int
    """How many payloads could not be read."""
    error: Exception | None
    """The last exception of the clock, of `measure`, of the store, of a download's start or of a payload; None: there
    was none.
    """
    code: int | None
    """Code of the last ack; None before the first one."""
    detail: str | None
    """Detail of the last ack, for people; None: it had none."""
    tag: int | None
    """Tag of the hello: names layout and epoch."""
    epoch: int | None
    """Unix second from which the device counts; None: it has no clock, and has not learnt the time."""
    have: int | None
    """Digest of the plan that is carried out; 0: none; None: the agent has no `install`."""
    result: list[Any] | None
    """The result that the cloud has not accepted yet, as in the protocol, its times in seconds since the epoch; None:
    there is none.
    """
    said: int | None
    """CRC of the hello that the broker has confirmed; None: it is to be published again."""
    hash: int
    """CRC of the hello that the device has now."""
    digest: int | None
    """Digest of the newest plan; another one than `have` while it is carried out."""
    plan: Plan
    """The newest plan; set when the first one comes."""
    done: list[int]
    """CRCs of the deployments of this plan that were carried out; 0: one that is tried again."""
    file: Definition | None
    """The Definition whose file is being downloaded; None: there is none."""
    replace: bool
    """Set it to True where a model's old file may go before the download of the new one, if the flash has no room for
    both.
    """
    seq: int
    """Seq of the result that waits, or of the last heartbeat that asked for an ack."""
    due: int
    """When the next heartbeat is due, as `now` counts."""
    at: int
    """When to measure next, as `now` counts."""
    shift: int
    """What to add to `now` for seconds since the epoch."""
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
    def hello(self, p: Packer, tag: int | None, epoch: int | None) -> None:
        """Writes a hello into p."""
    def sent(self, channel: str) -> None: ...
    def receive(self, channel: str | None, payload: bytes | memoryview) -> None: ...
    def ack(self, value: list[Any]) -> None:
        """Handles a decoded ack."""
    def work(self, clock: Callable[[], int]) -> bool: ...
    def save(self, sleep: float | None) -> None: ...
