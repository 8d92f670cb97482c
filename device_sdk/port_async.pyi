from collections.abc import Callable
from typing import Any

from .agent import Agent
from .log import Log
from .port import Port

class AsyncPort(Port):
    log: Log | None
    """What says in words what happens; None: nothing is said."""
    def __init__(
        self,
        agent: Agent,
        client: Any,
        fleet: str,
        device: str,
        root: str = "edge",
        size: int = 512,
        clock: Callable[[], int | None] = ...,
        log: Callable[[str], object] | None = None,
    ) -> None: ...
    async def serve(self) -> None: ...
