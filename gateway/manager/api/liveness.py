"""What a device announced of its being there, and what follows from its silence. No I/O, no clock.

It comes as two metrics of the dimension `liveness`, `state` and `seconds`, from the gateway or any other client.
"""

from dataclasses import dataclass
from enum import IntEnum

DIMENSION = "liveness"
NAMES = ("state", "seconds")
TOLERANCE, LEAST_TOLERANCE = 0.1, 60.0
"""By how much a device may be late: a share of the seconds that it announced, and so many seconds at least, in which it
connects again."""
LONGEST = 10 * 365 * 86_400.0
"""More seconds than that are no announcement."""


STATES = ("connected", "asleep", "silent", "gone", "never heard", "not announced")
"""The words of `judge`."""


class State(IntEnum):
    """The value of the metric `state`."""

    GONE = 0
    CONNECTED = 1
    ASLEEP = 2


@dataclass(frozen=True, slots=True)
class Announced:
    """What the device or its broker said last, `at` (Unix seconds).

    `seconds`: within which one that is connected sends a heartbeat, or one that is asleep is back; None: not said.
    """

    state: State
    seconds: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Liveness:
    """`state`: one of STATES. `since`: of a device that is gone, asleep or silent; `until`: of one that is asleep.

    Times in Unix seconds; `seconds`: as announced; None: not known.
    """

    state: str
    since: float | None = None
    until: float | None = None
    seconds: float | None = None


def read(state: float, seconds: float | None, at: float) -> Announced | None:
    """The newest values of the two metrics. None: a state that is not known."""
    if state not in set(State):
        return None
    return Announced(State(int(state)), seconds if seconds is not None and 0 < seconds <= LONGEST else None, at)


def judge(announced: Announced | None, newest: float | None, now: float) -> Liveness:
    """`newest`: when the newest heartbeat came.

    never heard, not announced (there were heartbeats, and nothing says when the next one is due), connected, asleep,
    silent (what it announced is over) or gone.
    """
    if announced is None:
        return Liveness("never heard" if newest is None else "not announced")
    at, seconds = announced.at, announced.seconds
    if announced.state is State.GONE:
        return Liveness("gone", since=at, seconds=seconds)
    end = due(announced, newest)
    if end is not None and now > end:
        return Liveness("silent", since=_heard(announced, newest), seconds=seconds)
    if announced.state is State.ASLEEP:
        return Liveness("asleep", since=at, until=None if seconds is None else at + seconds, seconds=seconds)
    return Liveness("connected", seconds=seconds)


def due(announced: Announced | None, newest: float | None) -> float | None:
    """The time after which the device is silent; None: nothing says it."""
    if announced is None or announced.state is State.GONE or announced.seconds is None:
        return None
    late = max(announced.seconds * TOLERANCE, LEAST_TOLERANCE)
    return _heard(announced, newest) + announced.seconds + late


def _heard(announced: Announced, newest: float | None) -> float:
    return announced.at if announced.state is State.ASLEEP else max(announced.at, newest or announced.at)
