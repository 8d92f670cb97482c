"""When the next block may go: as many are under way as the broker confirms at its own speed, and none only waits.

Acks and plans wait behind what waits in front of the broker, and heartbeats for both. So the window follows the delay
of the confirmations: it shrinks as soon as they take longer than the way alone. And while heartbeats come, there is a
rate, since broker, gateway and machine are theirs too. Pure: times in seconds are handed in.
"""

MOST = 256
"""Well under what the link sends at once."""
LEAST = 4
START = 16
SLACK = 0.001
"""So much longer than the fastest may a confirmation take, or by half of the fastest's time where that is more."""
REMEMBERED = 30.0
"""The fastest is looked for anew so often, since the way may change; the one before counts for as long again."""
RATE = 2000
"""Blocks a second, of all devices, while others are served."""
BURST = 8
"""Blocks that may go at once then."""
QUIET = 0.25
"""So long after the last one that was served, nobody is."""


class CongestionControl:
    """`window`: blocks that may be unconfirmed."""

    def __init__(self) -> None:
        self.window = START
        self._exact = float(START)
        self._fastest = self._fastest_before = float("inf")
        self._since = float("-inf")
        self._others = float("-inf")
        self._paid_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Pace: {self.window} at once, the fastest took {self._way() * 1000:.1f} ms>"

    def confirmed(self, sent: float, now: float, is_full: bool) -> None:
        """A block of the moment `sent` is confirmed. `is_full`: no other could have been sent meanwhile.

        In the time of a whole window it grows by one block at most, and is halved at most.
        """
        self._remember(now - sent, now)
        way = self._way()
        waited = now - sent - way
        step = max(-self._exact / 2, 1 - waited / max(SLACK, way / 2))
        if step < 0 or is_full:
            self._exact = min(MOST, max(LEAST, self._exact + step / self._exact))
            self.window = int(self._exact)

    def serves_others(self, now: float) -> None:
        """A call to the service begins: a heartbeat, mostly."""
        self._others = now

    def sends(self, now: float) -> None:
        """A block goes."""
        self._paid_at = max(self._paid_at, now - BURST / RATE) + 1 / RATE

    def rest(self, now: float) -> float:
        """Seconds until the next block may go."""
        return max(0.0, self._paid_at - now) if now - self._others < QUIET else 0.0

    def _way(self) -> float:
        return min(self._fastest, self._fastest_before)

    def _remember(self, took: float, now: float) -> None:
        if now - self._since > REMEMBERED:
            self._fastest_before, self._fastest, self._since = self._fastest, took, now
        self._fastest = min(self._fastest, took)
