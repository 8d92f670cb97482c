"""Executes the steps of rollouts that are due: after a result of a device, a command of an operator, or some time.

`decisions.next_step` decides them. Each step is one transaction over at most `SLICE` devices, so that no caller of the
service waits long. Any process with the database may take steps: the command that starts a rollout, and the service.
"""

from collections.abc import Callable, Collection, Sequence

from gateway.manager.api import DeviceDeployment, undo_definitions
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import decisions
from gateway.manager.rollouts.decisions import HALTED, OPEN, PENDING, RESULTS, RolloutDeviceState, RolloutState
from gateway.manager.rollouts.repository import NewRollout, Rollout, RolloutRepository
from gateway.manager.store import Database

SLICE = 100
STEPS = 20
"""A command takes at most so many steps and leaves the rest of a large fleet to the service."""


class RolloutRunner:
    """The rollouts of an open database. Times are Unix seconds. sqlite3.Error: the disk fails."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rollouts = RolloutRepository(database)

    def on_result(self, device_id: int, deployment: str, status: str | None, now: float) -> None:
        """A device reported a result: sets the device's state and takes the rollout's next step."""
        state, known = RESULTS.get(status or ""), self.rollouts.find_device(device_id, deployment)
        if state is None or known is None:
            return
        rollout_id, before = known
        if before not in (state, RolloutDeviceState.WAITING, RolloutDeviceState.WITHDRAWN):
            self.rollouts.set_device(rollout_id, device_id, state)
            self.advance(rollout_id, now)

    def on_fetched(self, device_id: int, names: Collection[str]) -> None:
        """GetDeployments returns `names` to the device. Reads first: mostly nothing is to be written."""
        for rollout_id, name in self.rollouts.not_fetched(device_id):
            if name in names:
                self.rollouts.set_device(rollout_id, device_id, RolloutDeviceState.FETCHED)

    def start(self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float) -> Rollout:
        """Creates a rollout (`RolloutRepository.create`) and takes the steps that are due."""
        return self.run_due_steps(self.rollouts.create(new, choose, now), now)

    def set_state(self, rollout_id: int, state: RolloutState, now: float) -> Rollout:
        """An operator pauses, resumes or aborts it; due steps follow. Raises ManagerError where it has ended."""
        with self.database.transaction():
            rollout = self.rollouts.read(rollout_id)
            if rollout.progress.state not in OPEN:
                todo = "`undo` takes it back, `deploy` starts another one"
                raise ManagerError(f"{rollout.name} has ended, it is {rollout.progress.state}: {todo}")
            self.rollouts.update(rollout_id, state=state)
        return self.run_due_steps(rollout_id, now)

    def run_due_steps(self, rollout_id: int, now: float) -> Rollout:
        """Takes up to `STEPS` steps that are due; the rollout afterwards."""
        for _ in range(STEPS):
            if not self.advance(rollout_id, now):
                break
        return self.rollouts.read(rollout_id)

    def advance(self, rollout_id: int, now: float) -> bool:
        """Takes the one step that is due; False: none is."""
        if decisions.next_step(self.rollouts.read(rollout_id).progress, now) is None:
            return False
        with self.database.transaction():
            rollout = self.rollouts.read(rollout_id)
            self._execute(rollout, decisions.next_step(rollout.progress, now), now)
        return True

    def advance_all(self, now: float) -> bool:
        """Takes one step of each rollout that has one due; False: none has."""
        taken = [self.advance(rollout_id, now) for rollout_id in self.rollouts.unfinished()]
        return any(taken)

    def _execute(self, rollout: Rollout, step: decisions.Step, now: float) -> None:
        match step:
            case decisions.AssignNext(count):
                for device_id in self.rollouts.next_devices(rollout.id, RolloutDeviceState.WAITING, min(count, SLICE)):
                    self._assign(rollout, device_id, now)
            case decisions.StartStage(stage):
                self.rollouts.update(rollout.id, stage=stage, since=now)
            case decisions.Finish(state, reason):
                self.rollouts.update(rollout.id, state=state, reason=reason)
                if state in HALTED:
                    self._withdraw(rollout)
            case decisions.Withdraw():
                self._withdraw(rollout)

    def _assign(self, rollout: Rollout, device_id: int, now: float) -> None:
        definitions = rollout.definitions
        if rollout.undoes is not None:
            definitions = undo_definitions(self.database.history(device_id), rollout.undoes)
        if not definitions:
            self.rollouts.set_device(rollout.id, device_id, RolloutDeviceState.SUPERSEDED)
            return
        deployment = DeviceDeployment(rollout.name, rollout.policy, definitions, now)
        superseded = self.database.assign(device_id, deployment)
        self.rollouts.change_device(device_id, superseded, PENDING, RolloutDeviceState.SUPERSEDED)
        self.rollouts.set_device(rollout.id, device_id, RolloutDeviceState.ASSIGNED)

    def _withdraw(self, rollout: Rollout) -> None:
        for device_id in self.rollouts.next_devices(rollout.id, RolloutDeviceState.ASSIGNED, SLICE):
            names = self.database.withdraw(device_id, rollout.name)
            self.rollouts.change_device(device_id, names, (RolloutDeviceState.SUPERSEDED,), RolloutDeviceState.FETCHED)
            self.rollouts.set_device(rollout.id, device_id, RolloutDeviceState.WITHDRAWN)
