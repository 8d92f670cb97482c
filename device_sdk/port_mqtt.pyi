from collections.abc import Callable
from ssl import SSLContext

from .agent import Agent
from .mqtt import Mqtt

class Uptime:
    def __init__(self) -> None: ...
    def __call__(self) -> int: ...

class Port:
    agent: Agent
    uptime: Uptime
    client: Mqtt
    error: OSError | None
    def __init__(
        self,
        agent: Agent,
        host: str,
        fleet: str,
        device: str,
        password: str | None = None,
        user: str | None = None,
        port: int = 1883,
        root: str = "edge",
        tls: SSLContext | None = None,
        keepalive: int = 60,
        timeout: int = 10,
        clean: bool = False,
        size: int = 512,
        clock: Callable[[], int | None] = ...,
    ) -> None: ...
    def run(self) -> None: ...
    def step(self, ms: int = 0) -> None: ...
    def close(self) -> None: ...
