from collections.abc import Callable, Sequence
from typing import Any

from .heartbeat import Packer

def over(kind: Any) -> Callable[..., Umqtt]: ...

class Umqtt:
    broker: tuple[str, int]
    open: bool
    unconfirmed: Packer | None
    def __init__(
        self,
        kind: Any,
        host: str,
        port: int,
        flags: int,
        fields: Sequence[str],
        keepalive: int,
        tls: Any,
        size: int,
        on_message: Callable[[bytes, bytes], object],
    ) -> None: ...
    def connect(self) -> bool: ...
    def close(self) -> None: ...
    def subscribe(self, topic: bytes, qos: int) -> None: ...
    def publish(self, topic: bytes, p: Packer, qos: int, retain: bool) -> None: ...
    def resend(self, flags: int) -> None: ...
    def poll(self, ms: int) -> None: ...
