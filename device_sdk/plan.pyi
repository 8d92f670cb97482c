from collections.abc import Callable
from typing import Any

from .agent import Agent
from .download import Download
from .pack import Packer

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
    rollback_reason: str | None
    now: int | str | None
    def __init__(self, values: list[Any]) -> None: ...

_Callback = Callable[[Definition], object] | None

class Plans:
    agent: Agent
    install: _Callback
    remove: _Callback
    files: str | None
    have: int
    result: list[Any] | None
    file: Download | None
    def __init__(self, agent: Agent, install: _Callback, remove: _Callback, files: str | None) -> None: ...
    def dump(self) -> tuple[Any, ...]: ...
    def load(self, values: list[Any], strange: bool) -> None: ...
    def receive(self, channel: str, value: Any) -> None: ...
    def told(self, time: int) -> list[Any] | None: ...
    def poll(self, p: Packer) -> str | None: ...
    def refused(self, detail: str | None) -> None: ...
    def work(self, clock: Callable[[], int]) -> bool: ...
