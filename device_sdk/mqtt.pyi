from collections.abc import Callable
from ssl import SSLContext

from .pack import Packer

class RefusedError(OSError): ...

def room(topic: bytes) -> int: ...

class Mqtt:
    host: str
    port: int
    client_id: str
    user: str | None
    password: str | None
    keepalive: int
    clean: bool
    will: tuple[str | bytes, str | bytes, int, bool] | None
    tls: SSLContext | None
    timeout: int
    on_message: Callable[[bytes, bytearray, int, int], object] | None
    oversized: int
    connected: bool
    unconfirmed: Packer | None
    def __init__(
        self,
        host: str,
        port: int = 1883,
        client_id: str = "",
        user: str | None = None,
        password: str | None = None,
        keepalive: int = 60,
        clean: bool = True,
        will: tuple[str | bytes, str | bytes, int, bool] | None = None,
        tls: SSLContext | None = None,
        timeout: int = 10000,
        size: int = 1200,
        on_message: Callable[[bytes, bytearray, int, int], object] | None = None,
    ) -> None: ...
    def connect(self) -> bool: ...
    def close(self) -> None: ...
    def disconnect(self) -> None: ...
    def subscribe(self, topic: str | bytes, qos: int = 1) -> None: ...
    def publish(self, topic: bytes, p: Packer, qos: int = 1, retain: bool = False) -> None: ...
    def resend(self) -> None: ...
    def poll(self, ms: int = 0) -> bool: ...
