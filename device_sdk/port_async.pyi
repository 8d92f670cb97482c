from collections.abc import Callable
from typing import Any

from .agent import Agent
from .port import Port

class AsyncPort(Port):
    def __init__(
        self,
        agent: Agent,
        client: Any,
        fleet: str,
        device: str,
        root: str = "edge",
        size: int = 512,
        clock: Callable[[], int | None] = ...,
    ) -> None: ...
    async def serve(self) -> None: ...
