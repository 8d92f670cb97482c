from collections.abc import Callable
from typing import Any

from .agent import Agent

RETRY: float
RETRY_MOST: float
QUEUE_FULL: int

class PahoPort:
    agent: Agent
    stopped: bool
    root: str
    error: Exception | None
    def __init__(
        self,
        agent: Agent,
        client: Any,
        fleet: str,
        device: str,
        root: str = "edge",
        size: int = 4096,
        clock: Callable[[], int | None] = ...,
        log: Callable[[str], object] | None = None,
        live: bool = False,
    ) -> None: ...
    def uptime(self) -> int: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def step(self, seconds: float = 0.0) -> None: ...
