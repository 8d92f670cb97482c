from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from .agent import Agent
from .heartbeat import Packer

class Definition:
    handle: str | None
    state: int | str | None
    checksum: bytes | str | None
    size: int | None
    url: str | None
    checksum_type: str | None
    name: str | None
    version: str | None
    path: str | None
    reason: str | None
    rollback: str | None
    now: int | str | None
    def __init__(
        self,
        handle: str | None = None,
        state: int | str | None = None,
        checksum: bytes | str | None = None,
        size: int | None = None,
        url: str | None = None,
        checksum_type: str | None = None,
        *grown: object,
    ) -> None: ...
    def waits(self) -> bool: ...

class File:
    step: Definition
    of: tuple[int, int]
    length: int
    count: int
    part: str
    sum: Any
    at: int
    file: BinaryIO
    whole: bool
    asked: int | bool | None
    since: int | None
    start: int
    size: int
    wait: int
    end: int
    def __init__(self, step: Definition, digest: int, index: int, path: str, size: int | None) -> None: ...
    def poll(self, p: Packer, now: int) -> str | None: ...
    def refused(self, reason: str | None) -> None: ...
    def fail(self, reason: str) -> None: ...
    def open(self) -> None: ...
    def read(self, path: str, flags: str) -> None: ...
    def receive(self, value: list[Any]) -> None: ...
    def put(self, offset: int, total: int, data: bytes) -> None: ...

class Plan:
    items: list[tuple[int, str, int | None, list[Definition]]]
    agent: Agent
    start: int
    def __init__(self, agent: Agent, value: list[Any]) -> None: ...
    def work(self, clock: Callable[[], int]) -> bool: ...
    def fetch(self, steps: Sequence[Definition], index: int) -> bool | None: ...
    def exec(self, steps: Sequence[Definition], policy: int | None) -> str | None: ...
    def call(self, step: Definition, state: int) -> str | None: ...
