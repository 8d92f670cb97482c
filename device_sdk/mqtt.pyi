from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .heartbeat import Packer

def field(text: str | bytes) -> bytes: ...

class Mqtt:
    broker: tuple[str, int, Callable[[Any, str], Any] | None]
    """Host, port and `tls`."""
    keepalive: int
    """Seconds; 0: none."""
    receive: Callable[[bytes, memoryview], object]
    """Called with topic and payload of each message; the payload is valid only during the call."""
    timeout: int
    """Milliseconds without a byte after which a call ends; it ends after eight times as many in any case."""
    feed: Callable[[], object]
    """Called at least each second while a call waits."""
    open: bool
    """Whether there is a connection."""
    granted: bool | None
    """Whether the broker has granted the subscriptions in this session; None: it has not answered."""
    p: Packer | None
    """The QoS 1 publish that is in flight; None: there is none."""
    io: Any
    """The socket."""
    buf: bytearray
    """Where packets are read."""
    hello: bytes
    """The CONNECT packet."""
    end: int
    """Ticks when a call ends if no byte comes."""
    due: int
    """Ticks when it ends in any case."""
    select: Any
    """The poller of the socket."""
    sent: int
    """Ticks when the last byte was sent."""
    def __init__(
        self,
        host: str,
        port: int,
        flags: int,
        fields: Sequence[str | bytes],
        keepalive: int,
        tls: Callable[[Any, str], Any] | None,
        size: int,
        on_message: Callable[[bytes, memoryview], object],
    ) -> None: ...
    def connect(self) -> None: ...
    def close(self) -> None: ...
    def disconnect(self) -> None: ...
    def subscribe(self, root: str, topics: Iterable[str], qos: int) -> None: ...
    def publish(self, topic: bytes, p: Packer, qos: int, retain: bool) -> None: ...
    def send(self, p: Packer, flags: int) -> None: ...
    def poll(self, ms: int) -> bool | None: ...
    def start(self) -> None:
        """Sets the deadlines of a call."""
    def left(self) -> int:
        """Milliseconds until the next deadline, 1000 at most. Raises OSError after it."""
    def wait(self, flags: int, ms: int) -> bool:
        """Waits until the socket can be read (flags 1) or written (4). Returns whether it can."""
    def call(self, buf: bytes | bytearray, type: int) -> None:
        """Writes a packet and waits for an answer of this type; 0: for none."""
    def write(self, buf: bytes | bytearray, at: int, end: int) -> None:
        """Writes bytes of a buffer."""
    def read(self, n: int, at: int) -> None:
        """Fills the buffer from byte `at` to n."""
    def recv(self, n: int) -> int:
        """Handles a packet of which n bytes, 0 or 1, have been read. Returns its type."""
