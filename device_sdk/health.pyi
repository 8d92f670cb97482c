from collections.abc import Callable
from typing import Any

from .agent import Agent
from .heartbeat import Packer
from .plan import Definition
from .plan import ok as ok

move: Callable[[Agent], None]

def replace(agent: Agent) -> None: ...

class Health:
    agent: Agent
    store: Callable[..., Any]
    boots: int
    begin: Callable[..., None]
    keep: Callable[[int | None], None]
    trial: list[Any] | None
    seen: bool
    def __init__(self, agent: Agent, store: Callable[..., Any], boots: int = 3) -> None: ...
    def watch(self, call: Callable[[Definition], object], step: Definition) -> None: ...
    def start(self, now: int, unix: int | None, tag: int, woke: bool, p: Packer | None = None) -> None: ...
    def save(self, sleep: int | None) -> None: ...
    def write(self, trial: list[Any]) -> None: ...
    def end(self) -> None: ...
    def fail(self) -> None: ...
