"""The next step of a rollout: one deployment to many devices, in stages, until too many fail. No I/O, no clock.

Each device has one state, set by its newest result: however often it repeats a result, retries or reboots, it counts
once. `next_step` looks only at how many devices are in which state.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import TypeAlias


class RolloutState(StrEnum):
    """The last three are final."""

    RUNNING = auto()
    PAUSED = auto()
    """No further device gets it until an operator resumes it; results still count."""
    STOPPED = auto()
    """By itself: too many failed."""
    ABORTED = auto()
    """By an operator."""
    COMPLETED = auto()


class RolloutDeviceState(StrEnum):
    WAITING = auto()
    """Its stage has not started."""
    ASSIGNED = "given"  # as stored
    """GetDeployments would return it; the device has not asked."""
    FETCHED = auto()
    """GetDeployments returned it."""
    SUCCEEDED = auto()
    FAILED = auto()
    SUPERSEDED = auto()
    """A newer deployment replaced it after the device fetched it, before the device reported a result."""
    SKIPPED = auto()
    """A newer deployment replaced it before the device fetched it, or there was nothing to give."""
    WITHDRAWN = auto()
    """It was assigned and not fetched when the rollout was stopped or aborted."""


OPEN = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})
HALTED = frozenset({RolloutState.STOPPED, RolloutState.ABORTED})
PENDING = (RolloutDeviceState.ASSIGNED, RolloutDeviceState.FETCHED)
REPLACED = (RolloutDeviceState.SUPERSEDED, RolloutDeviceState.SKIPPED)
RESULTS = {"SUCCESS": RolloutDeviceState.SUCCEEDED, "FAIL": RolloutDeviceState.FAILED}
"""DeploymentStatus -> the state of the device. Any other status changes nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`share` of all devices have it. The next starts once `min_success` of them succeeded, `wait` s after this one."""

    share: Fraction
    min_success: Fraction = Fraction(0)
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """`stop_at`: the share of results that may fail, None: any; it is checked from `stop_min` results on.

    `silent_after`: seconds after which a pending device that is silent counts as not reached, None: never.
    `max_silent`: the share of a stage's devices that may be not reached; the gate then looks at the others alone.

    Raises ValueError where the stages do not grow to 100%.
    """

    stages: tuple[Stage, ...] = (Stage(Fraction(1)),)
    stop_at: Fraction | None = None
    stop_min: int = 1
    silent_after: float | None = None
    max_silent: Fraction = Fraction(1, 10)

    def __post_init__(self) -> None:
        shares = [Fraction(0), *(stage.share for stage in self.stages)]
        if shares[-1] != 1 or any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("stages grow, and the last one is 100%")


AT_ONCE = RolloutRules()
JUMP = 60.0
"""Seconds by which a clock that is not set differs at most from the one that nobody sets, between two counts."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout has come. `stage` counts from 0.

    `lasted`: for how many seconds the stage has lasted, as they were counted until `counted` (Unix seconds). `watched`:
    the time from which silence counts (Unix seconds). `silent`: how many pending devices were silent for `silent_after`
    when that was counted.
    """

    rules: RolloutRules
    state: RolloutState
    stage: int
    lasted: float
    counted: float
    devices: Mapping[RolloutDeviceState, int]
    watched: float = 0.0
    silent: int = 0

    def count(self, *states: RolloutDeviceState) -> int:
        return sum(self.devices.get(state, 0) for state in states)

    @property
    def total(self) -> int:
        return self.count(*RolloutDeviceState)

    @property
    def reached(self) -> int:
        """How many devices the stages have reached so far."""
        return self.total - self.count(RolloutDeviceState.WAITING)

    @property
    def not_reached(self) -> int:
        """How many pending devices are silent."""
        return min(self.silent, self.count(*PENDING))

    def stage_size(self, stage: int) -> int:
        """How many devices have it at the end of a stage: the share rounded up, so never none."""
        return ceil(self.rules.stages[stage].share * self.total)


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands between a stage and the next one, or the end.

    `devices`: those that it looks at, without `silent` ones; `required` of them must succeed, `succeeded` did, and
    `pending` still may. `remaining`: seconds that the stage lasts at least, from when that was counted.
    """

    devices: int
    required: int
    succeeded: int
    pending: int
    silent: int
    remaining: float

    @property
    def is_met(self) -> bool:
        return self.succeeded >= self.required and not self.remaining

    @property
    def is_lost(self) -> bool:
        return self.succeeded + self.pending < self.required


@dataclass(frozen=True, slots=True)
class AssignNext:
    count: int


@dataclass(frozen=True, slots=True)
class StartStage:
    stage: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Set that final state; `reason` is for people."""

    state: RolloutState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TakeBack:
    """From the devices that have not fetched it: until it goes on where it is paused, else for good."""


@dataclass(frozen=True, slots=True)
class Counted:
    """`lasted` and `watched` of Progress."""

    lasted: float
    watched: float


Step: TypeAlias = AssignNext | StartStage | Finish | TakeBack | None


def rollout_order(name: str, devices: Iterable[str]) -> list[str]:
    """The order in which a deployment of that name reaches the devices; always the same for the same names.

    Each stage is the beginning of this list, so a later stage contains the earlier ones.
    """
    return sorted(devices, key=lambda device: place_of(name, device))


def place_of(name: str, device: str) -> bytes:
    """By what `rollout_order` sorts: 32 bytes."""
    return hashlib.sha256(f"{name}/{device}".encode()).digest()


def select_share(name: str, devices: Mapping[str, int], share: Fraction) -> list[int]:
    """The ids of that share of the devices (name -> id), rounded up: the first of their order."""
    return [devices[device] for device in rollout_order(name, devices)[: ceil(share * len(devices))]]


def next_step(progress: Progress) -> Step:
    """The one next step; None: nothing to do until a result comes or time is counted."""
    take_back = TakeBack() if progress.count(RolloutDeviceState.ASSIGNED) else None
    if progress.state not in OPEN:
        return take_back if progress.state in HALTED else None
    reason = _stop_reason(progress)
    if reason is not None:
        return Finish(RolloutState.STOPPED, reason)
    if progress.state is RolloutState.PAUSED:
        return take_back
    missing = progress.stage_size(progress.stage) - progress.reached
    if missing > 0:
        return AssignNext(missing)
    return _end_of_stage(progress)


def count_time(progress: Progress, now: float, passed: float) -> Counted | None:
    """What has lasted at `now` (Unix seconds); None: it waits for no time.

    `passed`: seconds that passed by a clock which nobody sets, since who asks asked last. So a clock that jumps ahead
    counts as no more than that, and one that is set back as nothing. Silence counts anew from a jump, and from when
    nobody counted: what was heard is dated by the clock that was set.
    """
    waits = progress.lasted < progress.rules.stages[progress.stage].wait
    if progress.state not in OPEN or not (waits or progress.rules.silent_after is not None):
        return None
    between = now - progress.counted
    lasted = progress.lasted + min(max(between, 0.0), passed) if waits else progress.lasted
    return Counted(lasted, progress.watched if -JUMP < between < passed + JUMP else now)


def _stop_reason(progress: Progress) -> str | None:
    """Why it stops, or None. `stop_min` is ignored where the other devices of the stage could not change that."""
    limit = progress.rules.stop_at
    failed = progress.count(RolloutDeviceState.FAILED)
    results = failed + progress.count(RolloutDeviceState.SUCCEEDED)
    if limit is None or failed <= limit * results:
        return None
    most_results = max(progress.reached, progress.stage_size(progress.stage))
    if results < progress.rules.stop_min and failed <= limit * most_results:
        return None
    return f"{failed} of {results} results are FAIL, more than {float(limit * 100):g}%"


def gate_of(progress: Progress) -> Gate:
    """Of the stage that goes on, with the devices that it has reached so far."""
    stage = progress.rules.stages[progress.stage]
    reached = progress.reached - progress.count(*REPLACED)
    silent = progress.not_reached if progress.not_reached <= progress.rules.max_silent * reached else 0
    return Gate(
        devices=reached - silent,
        required=ceil(stage.min_success * (reached - silent)),
        succeeded=progress.count(RolloutDeviceState.SUCCEEDED),
        pending=progress.count(*PENDING) - silent,
        silent=silent,
        remaining=max(stage.wait - progress.lasted, 0.0),
    )


def _end_of_stage(progress: Progress) -> Step:
    gate = gate_of(progress)
    if progress.stage == len(progress.rules.stages) - 1:
        return None if gate.pending else Finish(RolloutState.COMPLETED)
    if gate.is_lost:
        share = progress.rules.stages[progress.stage].min_success
        needed = f"{float(share * 100):g}% must succeed before stage {progress.stage + 2}"
        failed = gate.devices - gate.succeeded - gate.pending
        return Finish(RolloutState.STOPPED, f"{failed} of {gate.devices} devices failed, and {needed}")
    return StartStage(progress.stage + 1) if gate.is_met else None
