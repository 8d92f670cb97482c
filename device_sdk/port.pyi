from collections.abc import Callable
from typing import Any

from .agent import Agent
from .heartbeat import Packer

CHANNELS: tuple[str, ...]

def random16() -> int: ...
def unix_time(start: int = ...) -> int | None: ...
def in_file(path: str) -> Callable[..., str | None]: ...

class Port:
    agent: Agent
    clock: Callable[[], int | None]
    client: Any
    feed: Callable[[], object]
    error: Exception | None
    wait: int
    root: str
    topic: bytes
    channel: str | None
    p: Packer
    at: int
    due: int
    def __init__(
        self,
        agent: Agent,
        host: str,
        fleet: str,
        device: str,
        password: str | None = None,
        port: int = 1883,
        root: str = "edge",
        tls: Callable[[Any, str], Any] | None = None,
        clock: Callable[[], int | None] = ...,
        woke: bool = False,
        keepalive: int = 60,
        size: int = 512,
        mqtt: Callable[..., Any] = ...,
        log: Callable[[str], object] | None = None,
    ) -> None: ...
    def receive(self, topic: bytes, payload: memoryview) -> None: ...
    def poll(self) -> str | None: ...
    def now(self) -> int: ...
    def run(self) -> None: ...
    def step(self, ms: int) -> None: ...
