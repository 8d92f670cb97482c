from collections.abc import Callable
from typing import Any

from .agent import Agent
from .port import Port

RETRY: int
"""Milliseconds that Wi-Fi gets to connect, before it is told to connect again."""

class BoardPort(Port):
    wlan: Any
    """A `network.WLAN`; None: the user keeps it connected."""
    network: tuple[str, str | None] | tuple[()]
    """ssid and key; (): the user has told it where to connect."""
    live: bytes | bool
    """The topic `live`, as it is in a packet; False: nothing is announced."""
    open: Callable[[], None]
    """The client's connect(), where each connection is announced."""
    tried: int | None
    """Ticks when Wi-Fi was told to connect; None: it was connected since."""
    def __init__(
        self,
        agent: Agent,
        host: str,
        fleet: str,
        device: str,
        password: str | None = None,
        wlan: Any = None,
        ssid: str | None = None,
        key: str | None = None,
        watchdog: Any = None,
        live: bool = False,
        woke: bool = False,
        root: str = "edge",
        mqtt: Callable[..., Any] = ...,
        **more: Any,
    ) -> None: ...
    def wifi(self) -> bool | None: ...
    def connect(self) -> None:
        """Connects and announces it."""
    def announce(self, state: int, seconds: int, then: bytes = b"") -> None:
        """Publishes `[state, seconds]` on `live`, and writes `then` behind it, without waiting for the PUBACK."""
    def sleep(self, seconds: int) -> None: ...
