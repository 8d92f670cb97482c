"""A rollout: one deployment for many devices, in stages, which ends itself where too many fail. No I/O, no clock.

Each device has one state, which its newest result sets: however often it repeats a result, retries or reboots, it
counts once, as what it said last. `decide` looks at how many devices are in which state, and names the one next step.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import TypeAlias


class State(StrEnum):
    """Of a rollout. The last three are final."""

    RUNNING = auto()
    PAUSED = auto()
    """No further device gets it until an operator resumes it; results still count."""
    STOPPED = auto()
    """By itself: too many failed."""
    ABORTED = auto()
    """By an operator."""
    COMPLETED = auto()


class DeviceState(StrEnum):
    """Of one device in a rollout."""

    WAITING = auto()
    """Its stage has not come."""
    GIVEN = auto()
    """GetDeployments would answer it; nobody asked."""
    FETCHED = auto()
    """GetDeployments answered it."""
    SUCCEEDED = auto()
    FAILED = auto()
    SUPERSEDED = auto()
    """A newer deployment took its place before the device told a result."""
    WITHDRAWN = auto()
    """It was given and nobody asked, when the rollout was stopped or aborted."""


OPEN = frozenset({State.RUNNING, State.PAUSED})
HALTED = frozenset({State.STOPPED, State.ABORTED})
PENDING = (DeviceState.GIVEN, DeviceState.FETCHED)
VERDICTS = {"SUCCESS": DeviceState.SUCCEEDED, "FAIL": DeviceState.FAILED}
"""DeploymentStatus -> what it makes of a device. Any other word is no verdict."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`share` of all devices have it. The next begins once `min_success` of them succeeded, `wait` s after this one."""

    share: Fraction
    min_success: Fraction = Fraction(0)
    wait: float = 0.0


WHOLE = (Stage(Fraction(1)),)


@dataclass(frozen=True, slots=True)
class Rules:
    """`stop_at`: the share of results that may fail, None: any; it is looked at from `stop_min` results on.

    Raises ValueError where the stages do not grow to the whole.
    """

    stages: tuple[Stage, ...] = WHOLE
    stop_at: Fraction | None = None
    stop_min: int = 1

    def __post_init__(self) -> None:
        shares = [Fraction(0), *(stage.share for stage in self.stages)]
        if shares[-1] != 1 or any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("stages grow, and the last one is 100%")


AT_ONCE = Rules()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rollout stands. `stage` counts from 0 and began at `since` (Unix seconds)."""

    rules: Rules
    state: State
    stage: int
    since: float
    devices: Mapping[DeviceState, int]

    def count(self, *states: DeviceState) -> int:
        """How many devices are in one of `states`."""
        return sum(self.devices.get(state, 0) for state in states)

    @property
    def total(self) -> int:
        """All devices of the rollout, whatever their state."""
        return self.count(*DeviceState)

    @property
    def given(self) -> int:
        """How many devices the stages have reached."""
        return self.total - self.count(DeviceState.WAITING)

    def bound(self, stage: int) -> int:
        """How many devices have it at the end of a stage: the share rounded up, so never none."""
        return ceil(self.rules.stages[stage].share * self.total)


@dataclass(frozen=True, slots=True)
class Give:
    """The next `count` devices get it."""

    count: int


@dataclass(frozen=True, slots=True)
class Begin:
    """That stage begins."""

    stage: int


@dataclass(frozen=True, slots=True)
class End:
    """The rollout is in that state from now on; `reason` is for people."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """It is taken back from devices for which nobody has asked for it yet."""


Step: TypeAlias = Give | Begin | End | Withdraw | None


def order(name: str, devices: Iterable[str]) -> list[str]:
    """The devices in the order in which a deployment of that name reaches them; the same for the same names.

    Each stage is a beginning of this list, so a later one contains the earlier ones.
    """
    return sorted(devices, key=lambda device: hashlib.sha256(f"{name}/{device}".encode()).digest())


def portion(name: str, devices: Collection[str], share: Fraction) -> list[str]:
    """That share of the devices, rounded up: the first of their order."""
    return order(name, devices)[: ceil(share * len(devices))]


def decide(progress: Progress, now: float) -> Step:
    """The one next step at `now` (Unix seconds); None: nothing to do until a result comes or time passes."""
    if progress.state not in OPEN:
        return Withdraw() if progress.state in HALTED and progress.count(DeviceState.GIVEN) else None
    reason = _too_many(progress)
    if reason is not None:
        return End(State.STOPPED, reason)
    if progress.state is State.PAUSED:
        return None
    missing = progress.bound(progress.stage) - progress.given
    if missing > 0:
        return Give(missing)
    return _end_of_stage(progress, now)


def _too_many(progress: Progress) -> str | None:
    """Why the rollout stops. What the devices of its stage can no longer mend need not wait for `stop_min`."""
    limit = progress.rules.stop_at
    failed = progress.count(DeviceState.FAILED)
    results = failed + progress.count(DeviceState.SUCCEEDED)
    if limit is None or failed <= limit * results:
        return None
    reached = max(progress.given, progress.bound(progress.stage))
    if results < progress.rules.stop_min and failed <= limit * reached:
        return None
    return f"{failed} of {results} results are FAIL, more than {percent(limit)}"


def _end_of_stage(progress: Progress, now: float) -> Step:
    if progress.stage == len(progress.rules.stages) - 1:
        return None if progress.count(*PENDING) else End(State.COMPLETED)
    stage = progress.rules.stages[progress.stage]
    wanted = stage.min_success * (progress.given - progress.count(DeviceState.SUPERSEDED))
    enough = progress.count(DeviceState.SUCCEEDED) >= wanted
    return Begin(progress.stage + 1) if enough and now >= progress.since + stage.wait else None


def percent(share: Fraction) -> str:
    """For people: 5%, 0.5%."""
    return f"{float(share * 100):g}%"
