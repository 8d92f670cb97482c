"""How much a device may send: a token bucket for each busy device, kept as one number. Pure: the time is passed in.

The number is the moment at which what the device sent is paid for, at `rate` messages a second. It may lie ahead of now
by the burst; of a device for which it lies behind, nothing is kept.
"""

from gateway.protocol import Device

SWEEP_AT = 1024
"""Devices at least that are kept before those that are idle are dropped."""
READ_SHARE = 0.05
"""Of a message, that a `read` counts: a device asks for a model file by many small ones."""
PAYLOAD_SHIFT = 12
"""A payload counts once more for each 2**12 bytes."""
NOTIFY_EVERY = 1.0
"""Seconds."""


class DeviceRateLimiter:
    """`rate` in messages a second, `burst` in messages."""

    def __init__(self, rate: float, burst: float) -> None:
        self._cost = 1 / rate
        self._ahead = (burst + 0.5) / rate  # the half is for floats
        self._paid_at: dict[Device, float] = {}
        self._notified_at: dict[Device, float] = {}
        self._sweep_at = SWEEP_AT
        self._backlog_until = float("-inf")

    def __len__(self) -> int:
        return len(self._paid_at)

    def allow(self, device: Device, size: int, now: float, share: float = 1.0) -> bool:
        """Whether a message of `size` bytes is within the device's rate. `share`: of a message, that it counts."""
        paid_at = self._paid_at.get(device, now)
        cost = (share + (size >> PAYLOAD_SHIFT)) * self._cost
        if cost > self._ahead:
            cost = self._ahead  # an idle device may send a message of any size
        paid_at = (paid_at if paid_at > now else now) + cost
        if paid_at - now > self._ahead and paid_at - now > self._ahead + self._backlog_until - now:
            return False
        self._paid_at[device] = paid_at
        if len(self._paid_at) >= self._sweep_at:
            self._sweep(now)
        return True

    def should_notify(self, device: Device, now: float) -> bool:
        """Whether a device over its rate gets an ack though it asked for none: once a second at most."""
        if now - self._notified_at.get(device, float("-inf")) < NOTIFY_EVERY:
            return False
        self._notified_at[device] = now
        return True

    def allow_backlog(self, seconds: float, now: float) -> None:
        """Nothing was read for so long: what devices sent meanwhile may come at once."""
        self._backlog_until = max(self._backlog_until, now) + seconds

    def _sweep(self, now: float) -> None:
        self._paid_at = {device: paid_at for device, paid_at in self._paid_at.items() if paid_at > now}
        self._notified_at = {device: at for device, at in self._notified_at.items() if now - at < NOTIFY_EVERY}
        self._sweep_at = max(SWEEP_AT, 2 * len(self._paid_at))
