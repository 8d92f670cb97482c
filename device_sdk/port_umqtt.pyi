from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .heartbeat import Packer

def over(kind: Any) -> Callable[..., Umqtt]: ...

class Umqtt:
    broker: tuple[str, int]
    open: bool
    granted: bool
    feed: Callable[[], object] | None
    p: Packer | None
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
    def connect(self) -> None: ...
    def close(self) -> None: ...
    def disconnect(self) -> None: ...
    def subscribe(self, root: str, topics: Iterable[str], qos: int) -> None: ...
    def publish(self, topic: bytes, p: Packer, qos: int, retain: bool) -> None: ...
    def send(self, p: Packer, flags: int) -> None: ...
    def poll(self, ms: int) -> None: ...
