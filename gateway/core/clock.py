"""The wall clock beside the monotonic one: steps of the former, and whether it can be right. Pure."""

from gateway.protocol import Instant

RELEASED = 1_793_491_200
"""2026-11-01 in Unix seconds: this version did not exist before. A clock that is behind it is wrong."""
MAX_DRIFT = 1.0
"""Seconds by which the clocks may part before that counts as a step. NTP slews both alike."""
_UNKNOWN = float("inf")


class WallClock:
    """`offset`: wall minus monotonic time of the clock while it was right, in seconds; None: it never was.

    `expected`: the same; infinite unless the clock is right. `follow` is due where it differs by MAX_DRIFT.
    `step`: by how many seconds it was set, at the last `follow`. `wrong`: it is behind RELEASED.
    """

    def __init__(self) -> None:
        self.offset: float | None = None
        self.step = 0
        self.wrong = False
        self.expected = _UNKNOWN

    def follow(self, now: Instant) -> Instant:
        """After a change: `now`, as far as it is known, whatever the clock says."""
        self.step, self.wrong = 0, now.wall < RELEASED
        if self.wrong:
            self.expected = _UNKNOWN
            return now if self.offset is None else Instant(now.mono + self.offset, now.mono)
        offset = now.wall - now.mono
        self.step = 0 if self.offset is None else round(offset - self.offset)
        self.offset = self.expected = offset if self.offset is None else self.offset + self.step
        return now
