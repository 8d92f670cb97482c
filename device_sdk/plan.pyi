from collections.abc import Callable
from typing import Any, BinaryIO

from .agent import Agent
from .heartbeat import Packer

def exec(call: Callable[..., object], *args: Any) -> str | None: ...
def format(error: Exception) -> str: ...
def replace(agent: Agent) -> None: ...

class Definition:
    index: int
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
    old: str | None
    now: int
    agent: Agent
    new: str | None
    sum: Any
    at: int
    file: BinaryIO | None
    all: bool
    since: int
    start: int
    wait: int
    count: int
    end: int
    send: int | bool
    def __init__(self, values: list[Any], index: int) -> None: ...
    def open(self, agent: Agent, path: str) -> None: ...
    def read(self, path: str, hash: Callable[[], Any]) -> None: ...
    def poll(self, p: Packer, now: int) -> str | None: ...
    def refused(self, reason: str | None) -> None: ...
    def stop(self, reason: str | None) -> None: ...
    def receive(self, value: list[Any]) -> None: ...

class Plan:
    items: list[list[Any]]
    agent: Agent
    start: int
    def __init__(self, agent: Agent, value: list[Any]) -> None: ...
    def work(self, now: Callable[[], int]) -> bool: ...
    def call(self, step: Definition, state: int | str | None) -> None: ...
