"""Executes the steps of rollouts that are due: after a result of a device, a command of an operator, or some time.

`decisions.next_step` decides them. Each step is one transaction over at most `SLICE` devices, so that no caller of the
service waits long. Any process with the database may take steps: the command that starts a rollout, and each service;
whoever holds the lock of the rollout's row takes its next one.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from gateway.manager.api import DeviceDeployment, ModelDefinition, undo_definitions
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import decisions
from gateway.manager.rollouts.decisions import HALTED, OPEN, PENDING, RESULTS, RolloutDeviceState, RolloutState
from gateway.manager.rollouts.records import NewRollout, Rollout
from gateway.manager.rollouts.repository import Moves, RolloutRepository, parts
from gateway.manager.store import LogEntry, PlanChange, ReportedResult, Store, Transaction, plan_entry

SLICE = 250
STEPS = 20
"""A command takes at most so many steps and leaves the rest of a large fleet to the service."""
PAUSE = 0.025
"""Seconds after a transaction of a series, on SQLite: another process that waits looks only so often for its turn."""
PREPARATION = 3600.0
"""Seconds within which a rollout, of however many devices, is published."""

T = TypeVar("T")

_WITHOUT_IT = (RolloutDeviceState.WAITING, RolloutDeviceState.WITHDRAWN)
"""A result changes nothing where the device does not have the deployment."""


class RolloutRunner:
    """The rollouts of an open store. Times are Unix seconds. Raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self.store = store

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

        What is in them is fetched then, and never withdrawn. Returns the devices whose plan has changed since: nothing
        is marked for them, and their answer must be read again.
        """
        current = transaction.mark_fetched(plans)
        rollouts = RolloutRepository(transaction)
        fetched = rollouts.not_fetched(current)
        if fetched:
            transaction.log([plan_entry(device, now, PlanChange.FETCHED, name) for device, _, name in fetched])
            change = (RolloutDeviceState.ASSIGNED, RolloutDeviceState.FETCHED)
            rollouts.move({(device, rollout): change for device, rollout, _ in fetched})
        return set(plans) - current

    def start(self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float) -> Rollout:
        """Creates a rollout (`create`) and takes the steps that are due."""
        return self.run_due_steps(self.create(new, choose, now), now)

    def create(self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float) -> int:
        """The id of a new rollout to the devices that `choose` returns for its name, in that order.

        Raises ManagerError, and leaves nothing, as `RolloutRepository.prepare` and `publish` do.
        """
        rollout_id, name = self._write(lambda rollouts: rollouts.prepare(new, now))
        try:
            for part in parts(list(enumerate(choose(name)))):
                self._write(partial(RolloutRepository.add_devices, rollout_id=rollout_id, places=part))
                self._pause()
            self._write(lambda rollouts: rollouts.publish(rollout_id, new, name))
        except BaseException:
            while self._write(lambda rollouts: rollouts.discard(rollout_id)):
                pass
            raise
        return rollout_id

    def _write(self, work: Callable[[RolloutRepository], T]) -> T:
        return self.store.write(lambda transaction: work(RolloutRepository(transaction)))

    def set_state(self, rollout_id: int, state: RolloutState, now: float) -> Rollout:
        """An operator pauses, resumes or aborts it; due steps follow. Raises ManagerError where it has ended."""

        def work(rollouts: RolloutRepository) -> None:
            rollouts.lock(rollout_id, wait=True)
            rollout = rollouts.read(rollout_id)
            if rollout.progress.state not in OPEN:
                todo = "`undo` takes it back, `deploy` starts another one"
                raise ManagerError(f"{rollout.name} has ended, it is {rollout.progress.state}: {todo}")
            rollouts.update(rollout_id, state=state)

        self._write(work)
        return self.run_due_steps(rollout_id, now)

    def run_due_steps(self, rollout_id: int, now: float) -> Rollout:
        """Takes up to `STEPS` steps that are due, each after those of another process; the rollout afterwards."""
        for _ in range(STEPS):
            if not self.advance(rollout_id, now, wait=True):
                break
            self._pause()
        return self.read(rollout_id)

    def read(self, rollout_id: int) -> Rollout:
        return self.store.read(lambda transaction: RolloutRepository(transaction).read(rollout_id))

    def advance(self, rollout_id: int, now: float, *, wait: bool = False) -> bool:
        """Takes the one step that is due; False: none is, or, unless `wait`, another process takes one now."""
        if decisions.next_step(self.read(rollout_id).progress, now) is None:
            return False
        return self._take_step(rollout_id, now, wait=wait)

    def advance_all(self, now: float) -> bool:
        """Takes one step of each rollout that has one due, and deletes what was never published; False: none is."""

        def read(transaction: Transaction) -> tuple[list[Rollout], list[int]]:
            rollouts = RolloutRepository(transaction)
            return rollouts.unfinished(), rollouts.abandoned(now - PREPARATION)

        unfinished, abandoned = self.store.read(read)
        due = [each.id for each in unfinished if decisions.next_step(each.progress, now) is not None]
        taken = [self._take_step(each, now, wait=False) for each in due]
        taken += [self._write(partial(RolloutRepository.discard, rollout_id=each)) for each in abandoned]
        if any(taken):
            self._pause()
        return any(taken)

    def _pause(self) -> None:
        if self.store.engine.dialect.name == "sqlite":
            time.sleep(PAUSE)

    def _take_step(self, rollout_id: int, now: float, *, wait: bool) -> bool:
        return self._write(lambda rollouts: _take_step(rollouts, rollout_id, now, wait))


def _take_step(rollouts: RolloutRepository, rollout_id: int, now: float, wait: bool) -> bool:
    if not rollouts.lock(rollout_id, wait=wait):
        return False
    rollout = rollouts.read(rollout_id)
    match decisions.next_step(rollout.progress, now):
        case None:
            return False
        case decisions.AssignNext(count):
            return _assign(rollouts, rollout, min(count, SLICE), now)
        case decisions.StartStage(stage):
            rollouts.update(rollout.id, stage=stage, since=now)
        case decisions.Finish(state, reason):
            rollouts.update(rollout.id, state=state, reason=reason)
            if state in HALTED:
                _withdraw(rollouts, rollout, now)
        case decisions.Withdraw():
            return _withdraw(rollouts, rollout, now)
    return True


def _assign(rollouts: RolloutRepository, rollout: Rollout, count: int, now: float) -> bool:
    """To the next devices; False: there are none."""
    device_ids = rollouts.next_devices(rollout.id, RolloutDeviceState.WAITING, count)
    definitions = _definitions(rollouts.transaction, rollout, device_ids)
    deployments = {
        device: DeviceDeployment(rollout.name, rollout.policy, each, now)
        for device, each in definitions.items()
        if each
    }
    superseded = rollouts.transaction.assign(deployments)
    names = [(device, name) for device, each in superseded.items() for name in each]
    moves: Moves = {
        (device, other): (before, RolloutDeviceState.SUPERSEDED)
        for (device, _), (other, before) in rollouts.find_devices(names).items()
        if before in PENDING
    }
    log = [plan_entry(device, now, PlanChange.SUPERSEDED, name) for device, name in names]
    for device in device_ids:
        after = RolloutDeviceState.ASSIGNED if device in deployments else RolloutDeviceState.SUPERSEDED
        moves[device, rollout.id] = (RolloutDeviceState.WAITING, after)
    log += [plan_entry(device, now, PlanChange.ASSIGNED, rollout.name) for device in deployments]
    return _finish(rollouts, log, moves)


def _definitions(
    transaction: Transaction, rollout: Rollout, device_ids: Collection[int]
) -> dict[int, tuple[ModelDefinition, ...]]:
    """What each device gets; none where there is nothing to undo."""
    if rollout.undoes is None:
        return dict.fromkeys(device_ids, rollout.definitions)
    name, history = rollout.undoes, transaction.history(device_ids)
    return {device: undo_definitions(known, name) for device, known in history.items()}


def _withdraw(rollouts: RolloutRepository, rollout: Rollout, now: float) -> bool:
    """From the next devices that have not fetched it; False: there are none."""
    device_ids = rollouts.next_devices(rollout.id, RolloutDeviceState.ASSIGNED, SLICE)
    names = rollouts.transaction.withdraw(device_ids, rollout.name)
    again = rollouts.find_devices([(device, name) for device, each in names.items() for name in each])
    moves: Moves = {
        (device, other): (before, RolloutDeviceState.FETCHED)
        for (device, _), (other, before) in again.items()
        if before is RolloutDeviceState.SUPERSEDED
    }
    for device in device_ids:
        moves[device, rollout.id] = (RolloutDeviceState.ASSIGNED, RolloutDeviceState.WITHDRAWN)
    log = [plan_entry(device, now, PlanChange.WITHDRAWN, rollout.name) for device in device_ids]
    return _finish(rollouts, log, moves)


def _finish(rollouts: RolloutRepository, log: Sequence[LogEntry], moves: Moves) -> bool:
    if moves:
        rollouts.transaction.log(log)
        rollouts.move(moves)
    return bool(moves)
