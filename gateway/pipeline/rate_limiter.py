"""How much a device may send: a bucket of tokens for each that is busy, kept as one number. Pure: the time comes in.

The number is the moment at which what the device sent is paid for, at `rate` messages a second. It may lie ahead by the
burst; where it lies behind, the device is quiet, and nothing is kept of it.
"""

from gateway.protocol.messages import Device

SWEEP = 1024
"""Devices at least that are kept before the quiet ones are dropped."""
READ = 0.05
"""Of a message, that a `read` counts: a device asks for a model file by many small ones."""
PAYLOAD = 12
"""A payload counts once more for each 2**12 bytes."""
TOLD_EVERY = 1.0
"""Seconds."""


class DeviceRateLimiter:
    """`rate` in messages a second, `burst` in messages."""

    def __init__(self, rate: float, burst: float) -> None:
        self._cost = 1 / rate
        self._ahead = (burst + 0.5) / rate  # the half is for floats
        self._paid_at: dict[Device, float] = {}
        self._told: dict[Device, float] = {}
        self._sweep_at = SWEEP
        self._lenient_until = float("-inf")

    def __len__(self) -> int:
        return len(self._paid_at)

    def admits(self, device: Device, size: int, now: float, share: float = 1.0) -> bool:
        """Whether a message of `size` bytes is within the device's rate. `share`: of a message, that it counts."""
        paid_at = self._paid_at.get(device, now)
        cost = (share + (size >> PAYLOAD)) * self._cost
        if cost > self._ahead:
            cost = self._ahead  # who was quiet may send one of any size
        paid_at = (paid_at if paid_at > now else now) + cost
        if paid_at - now > self._ahead and paid_at - now > self._ahead + self._lenient_until - now:
            return False
        self._paid_at[device] = paid_at
        if len(self._paid_at) >= self._sweep_at:
            self._sweep(now)
        return True

    def tells(self, device: Device, now: float) -> bool:
        """Whether a device that is over its rate is told so, though it asked for no ack: once a second at most."""
        if now - self._told.get(device, float("-inf")) < TOLD_EVERY:
            return False
        self._told[device] = now
        return True

    def were_away(self, seconds: float, now: float) -> None:
        """For so long nothing was taken in: what devices sent meanwhile may come all at once, and is no flood."""
        self._lenient_until = max(self._lenient_until, now) + seconds

    def _sweep(self, now: float) -> None:
        self._paid_at = {device: paid_at for device, paid_at in self._paid_at.items() if paid_at > now}
        self._told = {device: at for device, at in self._told.items() if now - at < TOLD_EVERY}
        self._sweep_at = max(SWEEP, 2 * len(self._paid_at))
