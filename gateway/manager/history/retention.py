"""Which spans of the history stay. No I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.manager.history.chunks import SPAN
from gateway.manager.history.samples import DAY

EARLIEST, LATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Kept:
    """Spans that start at `first` or later, and before `end`, stay; in microseconds, as the spans' starts."""

    first: int = EARLIEST
    end: int = LATEST


def kept(now: int, days: int | None, size: int | None, usage: Iterable[tuple[int, int]]) -> Kept:
    """`now` in microseconds; None: no such limit. `usage`: day (counted from 1970 on) and the bytes of its samples.

    Each sample of the last `days` days stays where `size` bytes are enough. Where they are not, whole days go: first
    those that are ahead of tomorrow, the furthest first (a device whose clock is wrong must cost no other its history),
    then the oldest. Today's and tomorrow's samples stay.
    """
    first = EARLIEST if days is None else (now - days * DAY) // SPAN * SPAN
    if size is None:
        return Kept(first)
    today = now // DAY
    present = sorted(((day, used) for day, used in usage if (day + 1) * DAY > first), reverse=True)
    ahead = [each for each in reversed(present) if each[0] > today + 1]
    for day, used in present[len(ahead) :]:
        size -= used
        if size < 0 and day < today:
            first = (day + 1) * DAY
            break
    for day, used in ahead:
        size -= used
        if size < 0:
            return Kept(first, day * DAY)
    return Kept(first)
