"""When file blocks may be sent: congestion control for all of them, and a limit for what a device gets again and again.

The window follows the round-trip time of the PUBACKs (delay-based, like TCP Vegas): blocks must never queue in front of
acks and plans at the broker. While heartbeats arrive, a token bucket also limits blocks per second. Pure: times are
monotonic seconds.
"""

from gateway.protocol import Read

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
FREE_COPIES = 4
"""How often a device gets a file at full speed."""
FREE_BYTES = 4_194_304
"""Of each file at full speed at least, however small it is."""
REPEAT_RATE = 8192
"""Bytes a second of a file that a device gets beyond that."""
SWEEP_AT = 1024
"""Downloads at least that are kept before those that are paid for are dropped."""


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


class RepeatLimiter:
    """How much one device gets of one file of its plan: FREE_COPIES of it, or FREE_BYTES if that is more, then
    REPEAT_RATE bytes a second.

    The broker keeps what a device asks for and does not read, and tells the gateway nothing of it. A download is kept
    as one number: the moment at which its bytes are paid for at REPEAT_RATE; it is forgotten after that.
    """

    def __init__(self) -> None:
        self._paid_at: dict[tuple[str, int, int], float] = {}
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self._paid_at)

    def allows(self, topic: str, read: Read, total: int, now: float) -> bool:
        """Whether a block of `read` may be sent now; `total`: bytes of its file."""
        ahead = max(FREE_BYTES, FREE_COPIES * total) / REPEAT_RATE
        return self._paid_at.get((topic, read.digest, read.index), now) - now <= ahead

    def on_sent(self, topic: str, read: Read, size: int, now: float) -> None:
        download = topic, read.digest, read.index
        self._paid_at[download] = max(self._paid_at.get(download, now), now) + size / REPEAT_RATE
        if len(self._paid_at) >= self._sweep_at:
            self._paid_at = {each: paid_at for each, paid_at in self._paid_at.items() if paid_at > now}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._paid_at))
