"""Makes the rollouts of the stages that were started: a task of the background, in small transactions.

What is asked for is the row of `plan_stages`: STARTING, without a rollout. The transaction that publishes the rollout
names it there, so a stage has one rollout at most, whichever process made it and wherever one is killed. What was half
made is never published: `RolloutRunner.advance_all` deletes it.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from gateway.manager.control.calls import Members
from gateway.manager.control.fleet_parts import fleet_parts, with_rests
from gateway.manager.control.plan_rows import find_plan, in_rollouts
from gateway.manager.control.selection import StageChoice
from gateway.manager.control.stages import definitions_of
from gateway.manager.errors import ApiError, ManagerError, StoreUnavailable
from gateway.manager.rollouts import NewRollout, RolloutRepository, RolloutRunner, parts
from gateway.manager.store import Store, Transaction
from gateway.manager.store.control_tables import PLAN_STAGES, PLANS

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

_WITHOUT_ROLLOUT = PLAN_STAGES.c.rollout.is_(None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A stage that waits for the background."""

    plan: int
    number: int
    plan_name: str
    name: str
    state: str

    @property
    def row(self) -> tuple[sa.ColumnElement[bool], ...]:
        return PLAN_STAGES.c.plan == self.plan, PLAN_STAGES.c.number == self.number, _WITHOUT_ROLLOUT


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a stage asks for, before its devices are chosen. `others`: the rollouts of the plan's other stages."""

    new: NewRollout
    selection: Members
    others: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """`others`: the rollouts of the plan's other stages, whose devices are not among `devices`."""

    new: NewRollout
    devices: list[int]
    others: frozenset[int]


@dataclass(slots=True)
class _Making:
    """A rollout of which `done` parts are written."""

    asked: _Asked
    chosen: _Chosen
    rollout: int
    name: str
    parts: Sequence[Sequence[tuple[int, int]]]
    done: int = 0


class StageStarts:
    """The stages of an open store. Several processes may have one each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runner = RolloutRunner(store)
        self._making: _Making | None = None

    def step(self, now: float) -> bool:
        """One transaction or a few for the stage that was started first; False: no stage waits.

        Raises StoreUnavailable; what is half made is then left, and begun again.
        """
        making, self._making = self._making, None
        if making is None:
            return self._begin(now)
        try:
            going_on = self._go_on(making)
        except ManagerError as error:
            if not isinstance(error, StoreUnavailable):
                self._runner.discard(making.rollout)
            self._fail(making.asked, error)
            return True
        if not going_on:
            self._runner.discard(making.rollout)
        elif making.done <= len(making.parts):
            self._making = making
        else:
            self._runner.advance(making.rollout, now)
        self._runner.pause()
        return True

    def _begin(self, now: float) -> bool:
        asked = self._store.read(_first_asked)
        if asked is None:
            return False
        if asked.state == "STOPPING":
            self._end(asked, "STOPPED", "it was stopped before any device got it")
            return True
        try:
            chosen = self._choose(asked)
            if chosen is not None:
                rollout, name = self._store.write(
                    lambda transaction: RolloutRepository(transaction).prepare(chosen.new, now)
                )
                numbers = itertools.count()
                places = [
                    [(place, device) for device, place in zip(part, numbers, strict=False)]
                    for part in parts(chosen.devices)
                ]
                self._making = _Making(asked, chosen, rollout, name, places)
        except (ApiError, ManagerError) as error:
            self._fail(asked, error)
        return True

    def _choose(self, asked: _Asked) -> _Chosen | None:
        """None: it is not there any more. Raises ApiError and ManagerError where it cannot be started."""
        wanted = self._store.read(lambda transaction: _read(transaction, asked))
        if wanted is None:
            return None
        choice = StageChoice(asked.plan_name, wanted.selection)
        for devices in fleet_parts(self._store, wanted.new.fleet, wanted.selection.get("DeviceNames")):
            choice.add(devices)
        ids = choice.ids()
        if not ids:
            raise ManagerError(f"the device fleet {wanted.new.fleet} has no device that the stage {asked.name} is for")
        held: set[int] = set()
        for part in with_rests(parts(ids)) if wanted.others else ():
            held |= self._store.read(lambda transaction: _held(transaction, wanted.others, part))  # noqa: B023
        return _Chosen(wanted.new, [each for each in ids if each not in held], wanted.others)

    def _go_on(self, making: _Making) -> bool:
        """The next part, or, after the last one, that it is published; False: it is not wanted any more."""

        def work(transaction: Transaction) -> bool:
            if making.done == len(making.parts):
                return _publish(transaction, making)
            wanted = _is_wanted(transaction, making.asked)
            if wanted:
                RolloutRepository(transaction).add_devices(making.rollout, making.parts[making.done])
            return wanted

        going_on = self._store.write(work)
        making.done += 1
        return going_on

    def _fail(self, asked: _Asked, error: ApiError | ManagerError) -> None:
        if isinstance(error, StoreUnavailable):
            raise error
        message = error.message if isinstance(error, ApiError) else str(error)
        event = (
            "a stage of a deployment plan could not be started: no device gets it; start it again once that is mended"
        )
        LOG.warning(event, plan=asked.plan_name, stage=asked.name, detail=message)
        self._end(asked, "FAILED", message)

    def _end(self, asked: _Asked, state: str, message: str) -> None:
        """Unless an operator, or another process, was quicker."""
        update = sa.update(PLAN_STAGES).where(*asked.row, PLAN_STAGES.c.state == asked.state)
        self._store.write(
            lambda transaction: transaction.connection.execute(update.values(state=state, message=message))
        )


def _first_asked(transaction: Transaction) -> _Asked | None:
    select = (
        sa.select(PLANS.c.id, PLAN_STAGES.c.number, PLANS.c.name, PLAN_STAGES.c.name, PLAN_STAGES.c.state)
        .join_from(PLAN_STAGES, PLANS)
        .where(PLAN_STAGES.c.state.in_(("STARTING", "STOPPING")), _WITHOUT_ROLLOUT)
        .order_by(PLAN_STAGES.c.started, PLANS.c.id, PLAN_STAGES.c.number)
    )
    found = transaction.connection.execute(select.limit(1)).one_or_none()
    return None if found is None else _Asked(*found)


def _read(transaction: Transaction, asked: _Asked) -> _Wanted | None:
    """None: it is not there any more. Raises ApiError where a package is missing."""
    connection = transaction.connection
    plan = find_plan(connection, asked.plan_name)
    stage = connection.execute(sa.select(PLAN_STAGES).where(*asked.row)).one_or_none()
    if plan is None or stage is None:
        return None
    definitions = definitions_of(connection, plan.models)
    new = NewRollout(plan.fleet, None, plan.name, stage.policy, definitions, plan=plan.name)
    return _Wanted(new, json.loads(stage.selection), _others(connection, asked))


def _held(transaction: Transaction, others: frozenset[int], devices: Sequence[int]) -> set[int]:
    """Those of the devices that other stages have."""
    return {
        device for device, _ in transaction.connection.execute(in_rollouts(transaction.connection, others, devices))
    }


def _others(connection: sa.Connection, asked: _Asked) -> frozenset[int]:
    select = sa.select(PLAN_STAGES.c.rollout).where(PLAN_STAGES.c.plan == asked.plan, sa.not_(_WITHOUT_ROLLOUT))
    return frozenset(connection.scalars(select))


def _is_wanted(transaction: Transaction, asked: _Asked) -> bool:
    select = sa.select(PLAN_STAGES.c.state).where(*asked.row)
    return transaction.connection.scalar(select) == "STARTING"


def _publish(transaction: Transaction, making: _Making) -> bool:
    """False: it is not wanted any more, or another stage of the plan has been started meanwhile: choose again."""
    connection, asked = transaction.connection, making.asked
    find_plan(connection, asked.plan_name, lock=True)
    if not _is_wanted(transaction, asked) or _others(connection, asked) != making.chosen.others:
        return False
    RolloutRepository(transaction).publish(making.rollout, making.chosen.new, making.name)
    named = sa.update(PLAN_STAGES).where(*asked.row).values(state="INPROGRESS", rollout=making.rollout)
    connection.execute(named)
    return True
