from collections.abc import Callable
from typing import Any

from .agent import Agent
from .port import Port

RETRY: int

class BoardPort(Port):
    wlan: Any
    network: tuple[str, str | None] | tuple[()]
    live: bytes | bool
    open: Callable[[], None]
    tried: int | None
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
    def connect(self) -> None: ...
    def announce(self, state: int, seconds: int, then: bytes = b"") -> None: ...
    def sleep(self, seconds: int) -> None: ...
