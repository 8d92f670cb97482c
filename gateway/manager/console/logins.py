"""How often somebody may try to log in: by name, and by address. No I/O, and one thread alone."""

from collections import OrderedDict
from dataclasses import dataclass

MOST_KEPT = 10_000
"""Names, and addresses, of which something is known: the ones that tried longest ago are forgotten."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many tries at once, and one more after each `seconds`."""

    tries: int
    seconds: float


BY_NAME = Allowance(10, 30.0)
BY_ADDRESS = Allowance(30, 10.0)


class Tries:
    """The tries of each key that failed. `now`: seconds of a monotonic clock."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """Key -> when all its tries are there again."""

    def wait(self, key: str, now: float) -> float:
        """Seconds until it may try again; 0: now."""
        allowed = self._allowance
        return max(self._full_at.get(key, now) - now - (allowed.tries - 1) * allowed.seconds, 0.0)

    def failed(self, key: str, now: float) -> None:
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._allowance.seconds
        self._full_at.move_to_end(key)
        if len(self._full_at) > MOST_KEPT:
            self._full_at.popitem(last=False)

    def forget(self, key: str) -> None:
        self._full_at.pop(key, None)
