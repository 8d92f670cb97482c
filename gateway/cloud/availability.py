"""How many calls the service may be given at once, by what became of the last ones.

Closed: as many as the settings say. Open, once many devices failed in a row and none got through: none, and a few from
time to time to see. Recovering, from the first that gets through on: few, then more.
Pure: it hears of attempts and of the time, and says a number; who calls and when, others decide.
"""

from gateway.protocol.messages import Device

OPENS_AT = 10
"""Devices that fail one after another, and no call between them gets through: where three of ten calls fail by chance
that is one opening in 170,000 calls."""
PROBES = 3
"""Calls at once that try an open breaker, of different devices: one that always fails must not speak for all."""
DOUBLING = 1.0
"""Seconds in which the number of calls at once may double after an outage."""
MEMORY = 64
"""Calls over which the share of failures is taken, about."""


class CircuitBreaker:
    """`most`: calls at once while the service works. `rounds`: probes that failed in this outage, and one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed_in_a_row: set[Device] = set()
        self._recovering_since: float | None = None
        self.window = most
        self.rounds = 0
        self.failing_share = 0.0
        """Of late, of calls that were made for the first time."""

    def __repr__(self) -> str:
        return f"<Breaker {'open' if self.open else 'recovering' if self.recovering else 'closed'}, {self.window}>"

    @property
    def open(self) -> bool:
        """Whether the service fails for all."""
        return self.rounds > 0

    @property
    def recovering(self) -> bool:
        """Whether the service works again, and not all calls at once are let through yet."""
        return self._recovering_since is not None

    def answered(self, now: float, first: bool = True) -> None:
        """The service answered a call: accepted or refused, it works. `now` in seconds."""
        if first:
            self.failing_share -= self.failing_share / MEMORY
        if self._failed_in_a_row:
            self._failed_in_a_row.clear()
        if self.open:
            self.rounds, self._recovering_since, self.window = 0, now, min(PROBES, self._most)
        elif self._recovering_since is not None:
            allowed = PROBES * 2 ** min((now - self._recovering_since) / DOUBLING, 20)
            self.window = min(self._most, self.window + 1, int(allowed))
            if self.window == self._most:
                self._recovering_since = None

    def failed(self, device: Device, first: bool = True) -> bool:
        """An attempt failed. True where a probe becomes due: `probe` is to be called after a wait."""
        if first:
            self.failing_share += (1 - self.failing_share) / MEMORY
        if self.open:
            over = self.window > 0
            self.window, self.rounds = 0, self.rounds + over
            return over
        self._failed_in_a_row.add(device)
        if len(self._failed_in_a_row) < OPENS_AT:
            return False
        self._recovering_since, self.window, self.rounds = None, 0, 1
        return True

    def probe(self) -> None:
        """The wait is over: a few may try."""
        if self.open:
            self.window = min(PROBES, self._most)
