"""Rollouts carried on: by the results of devices, by an operator, by time. The steps are `rollout.decide`'s.

Each step is one transaction and touches at most `SLICE` devices, so that no caller of the service waits long for one.
Whoever has the database may take them: the command that begins a rollout, and the service from then on.
"""

from collections.abc import Iterable, Sequence

from gateway.manager.api.deployments import Deployment, undone
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts.decisions import (
    HALTED,
    OPEN,
    PENDING,
    VERDICTS,
    Begin,
    DeviceState,
    End,
    Give,
    State,
    Step,
    Withdraw,
    decide,
)
from gateway.manager.rollouts.repository import Rollout, Rollouts, marks
from gateway.manager.store.database import Store

SLICE = 100
STEPS = 20
SUPERSEDED = (DeviceState.SUPERSEDED,)


class Rolling:
    """Over an open store. Times are Unix seconds. sqlite3.Error: the disk fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connection = store.connection
        self.rollouts = Rollouts(store)

    def told(self, device: int, deployment: str, status: str | None, now: float) -> None:
        """A result of the device: it sets the device's verdict, and the rollout takes the step that follows."""
        verdict = VERDICTS.get(status or "")
        row = self.connection.execute(
            "SELECT rollout, rollout_devices.state FROM rollout_devices JOIN rollouts ON rollouts.id = rollout"
            " WHERE device = ? AND name = ?",
            (device, deployment),
        ).fetchone()
        if verdict is None or row is None or row[1] in (verdict, DeviceState.WAITING, DeviceState.WITHDRAWN):
            return
        self.rollouts.set_device(row[0], device, verdict)
        self.advance(row[0], now)

    def fetched(self, device: int, names: Iterable[str]) -> None:
        """GetDeployments answers the device `names`. Reads first: mostly nothing is to be written."""
        rows = self.connection.execute(
            "SELECT rollout, name FROM rollout_devices JOIN rollouts ON rollouts.id = rollout"
            " WHERE device = ? AND rollout_devices.state = 'given'",
            (device,),
        ).fetchall()
        answered = set(names)
        for number in (number for number, name in rows if name in answered):
            self.rollouts.set_device(number, device, DeviceState.FETCHED)

    def switch(self, number: int, state: State) -> None:
        """An operator pauses, resumes or aborts it. Raises ManagerError where it has ended."""
        with self.store.transaction():
            known = self.rollouts.read(number)
            if known.progress.state not in OPEN:
                raise ManagerError(f"{known.name} is {known.progress.state} already")
            self.rollouts.set(number, state=state)

    def advance(self, number: int, now: float) -> bool:
        """Take the one step that is due; False: none is."""
        if decide(self.rollouts.read(number).progress, now) is None:
            return False
        with self.store.transaction():
            rollout = self.rollouts.read(number)
            self._carry_out(rollout, decide(rollout.progress, now), now)
        return True

    def advance_all(self, now: float) -> bool:
        """Take the step of each rollout that is due; False: none is."""
        taken = [self.advance(number, now) for number in self.rollouts.open()]
        return any(taken)

    def settle(self, number: int, now: float) -> Rollout:
        """Take the steps that are due, but leave a large fleet to the service: it alone writes then, and none waits.

        The rollout as it is then.
        """
        for _ in range(STEPS):
            if not self.advance(number, now):
                break
        return self.rollouts.read(number)

    def _carry_out(self, rollout: Rollout, step: Step, now: float) -> None:
        match step:
            case Give(count):
                for device in self.rollouts.some(rollout.number, DeviceState.WAITING, min(count, SLICE)):
                    self._give(rollout, device, now)
            case Begin(stage):
                self.rollouts.set(rollout.number, stage=stage, since=now)
            case End(state, reason):
                self.rollouts.set(rollout.number, state=state, reason=reason)
                if state in HALTED:
                    self._withdraw(rollout)
            case Withdraw():
                self._withdraw(rollout)

    def _give(self, rollout: Rollout, device: int, now: float) -> None:
        definitions = rollout.definitions
        if rollout.undoes is not None:
            definitions = undone(self.store.history(device), rollout.undoes)
        if not definitions:
            self.rollouts.set_device(rollout.number, device, DeviceState.SUPERSEDED)
            return
        gone = self.store.give(device, Deployment(rollout.name, rollout.policy, definitions, now))
        self._move(device, gone, PENDING, DeviceState.SUPERSEDED)
        self.rollouts.set_device(rollout.number, device, DeviceState.GIVEN)

    def _withdraw(self, rollout: Rollout) -> None:
        for device in self.rollouts.some(rollout.number, DeviceState.GIVEN, SLICE):
            self._move(device, self.store.withdraw(device, rollout.name), SUPERSEDED, DeviceState.FETCHED)
            self.rollouts.set_device(rollout.number, device, DeviceState.WITHDRAWN)

    def _move(self, device: int, names: Iterable[str], before: Sequence[DeviceState], after: DeviceState) -> None:
        """The device's state in the rollouts of those names, where it is one of `before`."""
        for name in names:
            self.connection.execute(
                "UPDATE rollout_devices SET state = ? WHERE device = ?"
                f" AND state IN ({marks(before)}) AND rollout IN (SELECT id FROM rollouts WHERE name = ?)",
                (after, device, *before, name),
            )
