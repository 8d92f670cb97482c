"""Congestion control for file blocks: how many may be unconfirmed, and when the next one may be sent.

The window follows the round-trip time of the PUBACKs (delay-based, like TCP Vegas): blocks must never queue in front of
acks and plans at the broker. While heartbeats arrive, a token bucket also limits blocks per second. Pure: times are
monotonic seconds.
"""

MAX_WINDOW = 256
"""Well below the number of publications that the connection allows in flight."""
MIN_WINDOW = 4
START_WINDOW = 16
RTT_TOLERANCE = 0.001
"""Seconds that a PUBACK may take longer than the fastest, or half of the fastest's time if that is more."""
RTT_PERIOD = 30.0
"""Seconds after which the fastest is measured again, since the network may change. It is valid for one more period."""
RATE = 2000
"""Blocks per second, of all devices, while there is other traffic."""
BURST = 8
"""Blocks that may be sent at once then."""
TRAFFIC_PERIOD = 0.25
"""Seconds for which one message counts as traffic."""


class CongestionControl:
    """`window`: blocks that may be unconfirmed."""

    def __init__(self) -> None:
        self.window = START_WINDOW
        self._exact_window = float(START_WINDOW)
        self._fastest = self._fastest_before = float("inf")
        self._period_began = float("-inf")
        self._last_traffic = float("-inf")
        self._paid_until = float("-inf")

    def __repr__(self) -> str:
        fastest = min(self._fastest, self._fastest_before) * 1000
        return f"<CongestionControl: window {self.window}, fastest PUBACK {fastest:.1f} ms>"

    def on_confirmed(self, sent: float, now: float, is_full: bool) -> None:
        """The block that was sent at `sent` is confirmed. `is_full`: the window was full.

        In the time of a whole window the window grows by at most one block, and shrinks by at most half.
        """
        round_trip = now - sent
        if now - self._period_began > RTT_PERIOD:
            self._fastest_before, self._fastest, self._period_began = self._fastest, round_trip, now
        self._fastest = min(self._fastest, round_trip)
        min_rtt = min(self._fastest, self._fastest_before)
        queued = round_trip - min_rtt
        step = max(-self._exact_window / 2, 1 - queued / max(RTT_TOLERANCE, min_rtt / 2))
        if step < 0 or is_full:
            self._exact_window = min(MAX_WINDOW, max(MIN_WINDOW, self._exact_window + step / self._exact_window))
            self.window = int(self._exact_window)

    def note_traffic(self, now: float) -> None:
        """A call to the service starts: mostly for a heartbeat."""
        self._last_traffic = now

    def on_sent(self, now: float) -> None:
        self._paid_until = max(self._paid_until, now - BURST / RATE) + 1 / RATE

    def delay(self, now: float) -> float:
        """Seconds until the next block may be sent."""
        return max(0.0, self._paid_until - now) if now - self._last_traffic < TRAFFIC_PERIOD else 0.0
