"""Limits the messages in flight, in number and in bytes: at the limit the subscriber connection is not read, and the
broker keeps the rest. Must never depend on the content of a message.
"""

from typing import Protocol

from gateway.clock import monotonic
from gateway.ops import Metrics
from gateway.pipeline.rate_limiter import DeviceRateLimiter


class Pausable(Protocol):
    def pause(self) -> None: ...

    def resume(self) -> None: ...


class InFlightLimit:
    """`max_messages`, and `max_bytes` of payloads. After a pause, `rates` allow a backlog."""

    def __init__(self, max_messages: int, max_bytes: int, rates: DeviceRateLimiter, metrics: Metrics) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._rates = rates
        self._metrics = metrics
        self._full_since: float | None = None
        self._stopped = False
        self.messages = self.bytes = 0
        metrics.unacknowledged.set_function(lambda: self.messages)
        metrics.unacknowledged_bytes.set_function(lambda: self.bytes)

    def start(self, subscriber: Pausable) -> None:
        """`subscriber`: what is paused at the limit."""
        self._subscriber = subscriber

    @property
    def full(self) -> bool:
        """Whether nothing more is read."""
        return self._full_since is not None

    @property
    def below_half(self) -> bool:
        """Whether less than half of the messages are in flight."""
        return 2 * self.messages < self._max_messages

    def acquire(self, size: int) -> None:
        """A message with a payload of `size` bytes came in."""
        self.messages += 1
        self.bytes += size
        if self._full_since is None and (self.messages >= self._max_messages or self.bytes >= self._max_bytes):
            self._full_since = monotonic()
            self._subscriber.pause()
            self._metrics.reading_paused.set(1)

    def release(self, size: int) -> None:
        """It was acknowledged."""
        self.messages -= 1
        self.bytes -= size
        if self._full_since is None:
            return
        if self.messages <= self._max_messages * 3 // 4 and self.bytes <= self._max_bytes * 3 // 4:
            self._end_pause()
            if not self._stopped:
                self._subscriber.resume()

    def connected(self) -> None:
        """A new connection is read, however much is in flight."""
        if self._full_since is not None:
            self._end_pause()
        if self._stopped:
            self._subscriber.pause()

    def stop(self) -> None:
        """Read nothing more."""
        self._stopped = True
        self._subscriber.pause()

    def _end_pause(self) -> None:
        now = monotonic()
        self._rates.allow_backlog(now - (self._full_since or now), now)
        self._full_since = None
        self._metrics.reading_paused.set(0)
