"""What was taken in and is not settled: bounded in messages and in bytes. Full, it stops reading; the broker keeps the
rest. Knows no message; counts what it is told.
"""

import time
from typing import Protocol

from gateway.ops.metrics import Metrics
from gateway.pipeline.rate_limiter import DeviceRateLimiter


class Pausable(Protocol):
    """What can stop being read."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class InFlightLimit:
    """`most` messages and `most_bytes` of payloads. After a pause `rates` are lenient: a backlog is no flood."""

    def __init__(self, most: int, most_bytes: int, rates: DeviceRateLimiter, metrics: Metrics) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._rates = rates
        self._metrics = metrics
        self._full_since: float | None = None
        self._ended = False
        self.messages = self.bytes = 0
        metrics.unacknowledged.set_function(lambda: self.messages)
        metrics.unacknowledged_bytes.set_function(lambda: self.bytes)

    def begin(self, ear: Pausable) -> None:
        """Whom to stop."""
        self._ear = ear

    @property
    def full(self) -> bool:
        """Whether nothing more is read."""
        return self._full_since is not None

    @property
    def mostly_settled(self) -> bool:
        """Whether less than half of it is taken."""
        return 2 * self.messages < self._most

    def took(self, size: int) -> None:
        """A payload of `size` bytes is in."""
        self.messages += 1
        self.bytes += size
        if self._full_since is None and (self.messages >= self._most or self.bytes >= self._most_bytes):
            self._full_since = time.monotonic()
            self._ear.pause()
            self._metrics.reading_paused.set(1)

    def settled(self, size: int) -> None:
        """It is out again."""
        self.messages -= 1
        self.bytes -= size
        if (
            self._full_since is not None
            and self.messages <= self._most * 3 // 4
            and self.bytes <= self._most_bytes * 3 // 4
        ):
            self._read_again()
            if not self._ended:
                self._ear.resume()

    def connected(self) -> None:
        """A new connection is read, however much is in."""
        if self._full_since is not None:
            self._read_again()
        if self._ended:
            self._ear.pause()

    def end(self) -> None:
        """Nothing more is taken in."""
        self._ended = True
        self._ear.pause()

    def _read_again(self) -> None:
        now = time.monotonic()
        self._rates.were_away(now - (self._full_since or now), now)
        self._full_since = None
        self._metrics.reading_paused.set(0)
