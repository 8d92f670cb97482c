from collections.abc import Callable
from typing import Any

from .agent import Agent
from .heartbeat import Packer

CHANNELS: tuple[str, ...]
"""What a device subscribes to."""

def random16() -> int:
    """16 random bits."""

def unix_time(start: int = ...) -> int | None: ...
def in_file(path: str) -> Callable[..., str | None]: ...

class Port:
    agent: Agent
    """The agent."""
    clock: Callable[[], int | None]
    """Returns Unix seconds, or None while it does not know them."""
    client: Any
    """The MQTT client; `client.open`: whether there is a connection."""
    feed: Callable[[], object]
    """Set it to a watchdog's `feed`: it is called at least each second while `step` waits."""
    error: Exception | None
    """What ended the last connection, or the last attempt; None once all that was due has been sent over a new one."""
    wait: int
    """Milliseconds, at most, before the next attempt to connect; doubles after each failure, up to a minute."""
    root: str
    """What the device's topics begin with, `edge/FLEET/DEVICE/`."""
    topic: bytes
    """The topic of heartbeats, as it is in a packet."""
    channel: str | None
    """Channel of the last message."""
    p: Packer
    """Where messages are written."""
    at: int
    """Ticks when the seconds were counted last."""
    due: int
    """Ticks when to connect next."""
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
    def receive(self, topic: bytes, payload: memoryview) -> None:
        """Gives a message of the client to the agent."""
    def poll(self) -> str | None:
        """Writes the message that is due into `p`, and returns its channel; None: none is due."""
    def now(self) -> int: ...
    def run(self) -> None: ...
    def step(self, ms: int) -> None: ...
