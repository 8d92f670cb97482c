"""How much a device may send: a token bucket for each busy device, kept as one number. Pure: the time is passed in.

The number is the moment at which what the device sent is paid for, at `rate` messages a second. It may lie ahead of now
by the burst; of a device for which it lies behind, nothing is kept.
"""

from typing import TypeAlias

from gateway.protocol import Device

Sender: TypeAlias = Device | str
"""Whom a message counts against; a str: the levels of a topic that names no valid device."""
SWEEP_AT = 1024
"""Devices at least that are kept before those that are idle are dropped."""
READ_SHARE = 0.05
"""Of a message, that a `read` counts: a device asks for a model file by many small ones."""
PAYLOAD_SHIFT = 12
"""A payload counts once more for each 2**12 bytes."""


class DeviceRateLimiter:
    """`rate` in messages a second, `burst` in messages."""

    def __init__(self, rate: float, burst: float) -> None:
        self._cost = 1 / rate
        self._ahead = (burst + 0.5) / rate  # the half is for floats
        self._most = burst / rate
        self._paid_at: dict[Sender, float] = {}
        self._sweep_at = SWEEP_AT
        self._backlog_until = float("-inf")

    def __len__(self) -> int:
        return len(self._paid_at)

    def allow(self, device: Sender, size: int, now: float, share: float = 1.0) -> bool:
        """Whether a message of `size` bytes is within the device's rate. `share`: of a message, that it counts."""
        paid_at = self._paid_at.get(device, now)
        cost = (share + (size >> PAYLOAD_SHIFT)) * self._cost
        if cost > self._most:
            cost = self._most  # an idle device may send a message of any size
        paid_at = (paid_at if paid_at > now else now) + cost
        if paid_at - now > self._ahead and paid_at - now > self._ahead + self._backlog_until - now:
            return False
        self._paid_at[device] = paid_at
        if len(self._paid_at) >= self._sweep_at:
            self._sweep(now)
        return True

    def charge(self, device: Sender, now: float, share: float) -> None:
        """Count more for a message that was allowed."""
        self._paid_at[device] = max(self._paid_at.get(device, now), now) + share * self._cost

    def allowed_at(self, device: Sender, size: int, share: float = 1.0) -> float:
        """The time before which `allow` rejects each such message, and larger ones, of a device that is over its rate
        now, unless a backlog is allowed meanwhile."""
        cost = min((share + (size >> PAYLOAD_SHIFT)) * self._cost, self._most)
        return self._paid_at[device] + cost - self._ahead

    def allow_backlog(self, seconds: float, now: float) -> None:
        """Nothing was read for so long: what devices sent meanwhile may come at once."""
        self._backlog_until = max(self._backlog_until, now) + seconds

    def _sweep(self, now: float) -> None:
        self._paid_at = {device: paid_at for device, paid_at in self._paid_at.items() if paid_at > now}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._paid_at))


def counted_size(size: int) -> int:
    """The smallest payload that counts as much as one of `size` bytes."""
    return size >> PAYLOAD_SHIFT << PAYLOAD_SHIFT
