from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .heartbeat import Packer

def over(kind: Any) -> Callable[..., Umqtt]: ...

class Umqtt:
    broker: tuple[str, int]
    """Host and port."""
    open: bool
    """Whether there is a connection."""
    granted: bool
    """Whether the broker has granted the subscriptions in this session."""
    feed: Callable[[], object] | None
    """Not called: umqtt waits without it."""
    p: Packer | None
    """The publish that is in flight; None: there is none."""
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
    def close(self) -> None:
        """As in Mqtt."""
    def disconnect(self) -> None:
        """As in Mqtt."""
    def subscribe(self, root: str, topics: Iterable[str], qos: int) -> None: ...
    def publish(self, topic: bytes, p: Packer, qos: int, retain: bool) -> None: ...
    def send(self, p: Packer, flags: int) -> None:
        """As in Mqtt; umqtt takes another packet id."""
    def poll(self, ms: int) -> None: ...
