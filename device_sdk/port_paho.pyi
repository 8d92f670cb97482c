from collections.abc import Callable
from typing import Any

from .agent import Agent

RETRY: float
"""Seconds before a denied publish is repeated; doubles after each denial."""
RETRY_MOST: float
"""Seconds, at most."""
QUEUE_FULL: int
"""paho's MQTT_ERR_QUEUE_SIZE: it has not taken the message."""

class PahoPort:
    agent: Agent
    """The agent."""
    stopped: bool
    """Whether stop() was called."""
    root: str
    """What the device's topics begin with, `edge/FLEET/DEVICE/`."""
    error: Exception | None
    """An OSError with what the broker refused or why the connection ended; None after a confirmed publish."""
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
    def stop(self) -> None:
        """Ends run(), from any thread."""
    def step(self, seconds: float = 0.0) -> None: ...
