"""Executes the steps of rollouts that are due: after a result of a device, a command of an operator, or some time.

`decisions.next_step` decides them. Each step is one transaction over at most `SLICE` devices, so that no caller of the
service waits long. Any process with the database may take steps: the command that starts a rollout, and each service;
whoever holds the lock of the rollout's row takes its next one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import decisions
from gateway.manager.rollouts.changes import assign, take_back, take_back_from, write
from gateway.manager.rollouts.decisions import (
    HALTED,
    JUMP,
    OPEN,
    RESULTS,
    Progress,
    RolloutDeviceState,
    RolloutState,
)
from gateway.manager.rollouts.records import NewRollout, Rollout
from gateway.manager.rollouts.repository import Moves, RolloutRepository, parts
from gateway.manager.store import Auditor, PlanChange, ReportedResult, ResourceState, Store, Transaction, plan_entry
from gateway.manager.store.control_tables import deployment_resource

SLICE = 250
STEPS = 20
"""A command takes at most so many steps and leaves the rest of a large fleet to the service."""
PAUSE = 0.025
"""Seconds after a transaction of a series, on SQLite: another process that waits looks only so often for its turn."""
PREPARATION = 3600.0
"""Seconds within which a rollout, of however many devices, is published."""
COUNT_INTERVAL = 5.0
"""Seconds between two counts of the time for which a stage lasts; where the process ends, so much is not counted."""

T = TypeVar("T")

_WITHOUT_IT = (RolloutDeviceState.WAITING, RolloutDeviceState.WITHDRAWN)
"""A result changes nothing where the device does not have the deployment."""


class RolloutRunner:
    """The rollouts of an open store. Times are Unix seconds. Raises StoreUnavailable.

    `steady`: a clock in seconds that nobody sets.
    """

    def __init__(self, store: Store, steady: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._steady = steady
        self._counted: dict[int, float] = {}
        """Rollout -> when its time was counted last, by `steady`."""

    def on_results(
        self, transaction: Transaction, results: Mapping[tuple[int, str], ReportedResult], now: float
    ) -> set[int]:
        """Devices, which the transaction has locked, reported results: by device and name of the deployment.

        Sets the devices' states. The rollouts that it changed: after the commit `advance` takes their next steps.
        """
        states = {key: RESULTS[each.status] for key, each in results.items() if each.status in RESULTS}
        if not states:
            return set()
        rollouts = RolloutRepository(transaction)
        moves = {
            (key[0], rollout): (before, states[key])
            for key, (rollout, before) in rollouts.find_devices(states).items()
            if before is not states[key] and before not in _WITHOUT_IT
        }
        if moves:
            rollouts.move(moves)
        return {rollout for _, rollout in moves}

    def on_fetched(self, transaction: Transaction, plans: Mapping[int, int], now: float) -> set[int]:
        """GetDeployments is about to return these plans (device -> its number), which were read before.

        What is in them is fetched then, and never withdrawn. What is paused or halted is not fetched any more: it is
        taken back. Returns the devices whose plan has changed: nothing is marked for them, and their answer must be
        read again.
        """
        transaction.lock_devices(plans)
        rollouts = RolloutRepository(transaction)
        assigned = rollouts.not_fetched(plans)
        held = [each for each in assigned if each.paused or each.halted]
        late = {each.device for each in held}
        current = transaction.mark_fetched({device: plan for device, plan in plans.items() if device not in late})
        fetched = [each for each in assigned if each.device in current]
        log = [plan_entry(each.device, now, PlanChange.FETCHED, each.name) for each in fetched]
        change = (RolloutDeviceState.ASSIGNED, RolloutDeviceState.FETCHED)
        moves: Moves = {(each.device, each.rollout): change for each in fetched}
        if held:  # of several rollouts the first: the devices of the others ask again
            first = held[0]
            after = RolloutDeviceState.WITHDRAWN if first.halted else RolloutDeviceState.WAITING
            device_ids = [each.device for each in held if each.rollout == first.rollout]
            more, moved = take_back_from(rollouts, (first.rollout, first.name), device_ids, after, now)
            log, moves = log + more, moves | moved
        write(rollouts, log, moves)
        return set(plans) - current

    def start(
        self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float, auditor: Auditor | None = None
    ) -> Rollout:
        """Creates a rollout (`create`) and takes the steps that are due."""
        return self.run_due_steps(self.create(new, choose, now, auditor), now)

    def create(
        self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float, auditor: Auditor | None = None
    ) -> int:
        """The id of a new rollout to the devices that `choose` returns for its name, in that order.

        Raises ManagerError, and leaves nothing, as `RolloutRepository.prepare` and `publish` do.
        """
        rollout_id, name = self._write(lambda rollouts: rollouts.prepare(new, now))

        def publish(rollouts: RolloutRepository) -> None:
            undone = rollouts.publish(rollout_id, new, name)
            if auditor is None:
                return
            if new.undoes is not None and undone is not None:
                auditor.add(rollouts.connection, [_change(new.fleet, new.undoes, undone, RolloutState.ABORTED)])
            made = new.members(name, len(chosen))
            auditor.add(rollouts.connection, [(deployment_resource(new.fleet, name), None, made)])

        try:
            chosen = choose(name)
            for part in parts(list(enumerate(chosen))):
                self._write(partial(RolloutRepository.add_devices, rollout_id=rollout_id, places=part))
                self.pause()
            self._write(publish)
        except BaseException:
            self.discard(rollout_id)
            raise
        return rollout_id

    def discard(self, rollout_id: int) -> None:
        """Deletes a rollout that is not published."""
        while self._write(lambda rollouts: rollouts.discard(rollout_id)):
            self.pause()

    def _write(self, work: Callable[[RolloutRepository], T]) -> T:
        return self.store.write(lambda transaction: work(RolloutRepository(transaction)))

    def set_state(self, rollout_id: int, state: RolloutState, now: float, auditor: Auditor | None = None) -> Rollout:
        """An operator pauses, resumes or aborts it; due steps follow. Raises ManagerError where it has ended."""

        def work(rollouts: RolloutRepository) -> None:
            rollouts.lock(rollout_id, wait=True)
            rollout = rollouts.read(rollout_id)
            if rollout.progress.state not in OPEN:
                todo = "`undo` takes it back, `deploy` starts another one"
                raise ManagerError(f"{rollout.name} has ended, it is {rollout.progress.state}: {todo}")
            rollouts.update(rollout_id, state=state)
            if auditor is not None:
                before = rollout.progress.state
                auditor.add(rollouts.connection, [_change(rollout.fleet, rollout.name, before, state)])

        self._write(work)
        return self.run_due_steps(rollout_id, now)

    def run_due_steps(self, rollout_id: int, now: float) -> Rollout:
        """Takes up to `STEPS` steps that are due, each after those of another process; the rollout afterwards."""
        for _ in range(STEPS):
            if not self.advance(rollout_id, now, wait=True):
                break
            self.pause()
        return self.read(rollout_id)

    def read(self, rollout_id: int) -> Rollout:
        return self.store.read(lambda transaction: RolloutRepository(transaction).read(rollout_id))

    def advance(self, rollout_id: int, now: float, *, wait: bool = False) -> bool:
        """Takes the one step that is due; False: none is, or, unless `wait`, another process takes one now."""
        if decisions.next_step(self.read(rollout_id).progress) is None:
            return False
        return self._take_step(rollout_id, now, wait=wait)

    def advance_all(self, now: float) -> bool:
        """Takes one step of each rollout that has one due, and deletes what was never published; False: none is.

        Counts the time for which stages last: from the first call on, and never more than what passed between two.
        """

        def read(transaction: Transaction) -> tuple[list[Rollout], list[int]]:
            rollouts = RolloutRepository(transaction)
            return rollouts.unfinished(), rollouts.abandoned(now - PREPARATION)

        unfinished, abandoned = self.store.read(read)
        counted = [self._count_time(each, now) for each in unfinished]
        if any(counted):
            unfinished, abandoned = self.store.read(read)
        self._counted = {each.id: self._counted[each.id] for each in unfinished if each.id in self._counted}
        due = [each.id for each in unfinished if decisions.next_step(each.progress) is not None]
        taken = [self._take_step(each, now, wait=False) for each in due]
        taken += [self._write(partial(RolloutRepository.discard, rollout_id=each)) for each in abandoned]
        if any(taken):
            self.pause()
        return any(taken)

    def _count_time(self, rollout: Rollout, now: float) -> bool:
        """Whether something was counted."""
        steady = self._steady()
        passed = steady - self._counted.setdefault(rollout.id, steady)
        progress = rollout.progress
        counted = decisions.count_time(progress, now, passed)
        if counted is None:
            self._counted[rollout.id] = steady
            return False
        ends = progress.lasted < progress.rules.stages[progress.stage].wait <= counted.lasted
        if passed < COUNT_INTERVAL and not ends:
            return False

        def work(rollouts: RolloutRepository) -> bool:
            if not rollouts.lock(rollout.id, wait=False):
                return False
            found = rollouts.read(rollout.id)
            counted = decisions.count_time(found.progress, now, passed)
            if counted is not None:
                silent = rollouts.count_silent(found, counted.watched, now)
                changed = {"lasted": counted.lasted, "watched": counted.watched, "silent": silent}
                rollouts.update(rollout.id, counted=now, **changed)
            return True

        done = self._write(work)
        if done:
            self._counted[rollout.id] = steady
        return done

    def pause(self) -> None:
        """After a transaction of a series."""
        if self.store.engine.dialect.name == "sqlite":
            time.sleep(PAUSE)

    def _take_step(self, rollout_id: int, now: float, *, wait: bool) -> bool:
        return self._write(lambda rollouts: _take_step(rollouts, rollout_id, now, wait))


def _with_silent(rollouts: RolloutRepository, rollout: Rollout, now: float) -> Progress:
    """One may have come back since it was counted; none is silent by a clock that was set since."""
    progress = rollout.progress
    if progress.rules.silent_after is None:
        return progress
    is_right = abs(now - progress.counted) < JUMP
    return replace(progress, silent=rollouts.count_silent(rollout, progress.watched, now) if is_right else 0)


def _change(
    fleet: str, deployment: str, before: RolloutState, after: RolloutState
) -> tuple[str, ResourceState, ResourceState]:
    return deployment_resource(fleet, deployment), {"State": before}, {"State": after}


def _take_step(rollouts: RolloutRepository, rollout_id: int, now: float, wait: bool) -> bool:
    if not rollouts.lock(rollout_id, wait=wait):
        return False
    rollout = rollouts.read(rollout_id)
    match decisions.next_step(_with_silent(rollouts, rollout, now)):
        case None:
            return False
        case decisions.AssignNext(count):
            return assign(rollouts, rollout, min(count, SLICE), now)
        case decisions.StartStage(stage):
            rollouts.update(rollout.id, stage=stage, lasted=0.0, counted=now)
        case decisions.Finish(state, reason):
            rollouts.update(rollout.id, state=state, reason=reason)
            if state in HALTED:
                take_back(rollouts, rollout, RolloutDeviceState.WITHDRAWN, SLICE, now)
        case decisions.TakeBack():
            is_paused = rollout.progress.state is RolloutState.PAUSED
            after = RolloutDeviceState.WAITING if is_paused else RolloutDeviceState.WITHDRAWN
            return take_back(rollouts, rollout, after, SLICE, now)
    return True
