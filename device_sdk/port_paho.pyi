from collections.abc import Callable
from typing import Any

from .agent import Agent

class PahoPort:
    agent: Agent
    stopped: bool
    def __init__(
        self,
        agent: Agent,
        client: Any,
        fleet: str,
        device: str,
        root: str = "edge",
        size: int = 4096,
        clock: Callable[[], int | None] = ...,
    ) -> None: ...
    def uptime(self) -> int: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def step(self, seconds: float = 0.0) -> None: ...
