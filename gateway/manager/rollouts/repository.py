"""Rollouts in the database: created, found, read and changed. Decides no step. Times are Unix seconds.

`rollout_counts` are changed by whoever changes `rollout_devices`, in the same transaction: `move` does both.
`gateway.manager.store.transaction` has the order of the locks.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias, TypeVar

import sqlalchemy as sa

from gateway.manager.api import to_us
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts.decisions import HALTED, OPEN, PENDING, RolloutDeviceState, RolloutState
from gateway.manager.rollouts.records import NewRollout, Rollout, rollout_from, rules_from_json, rules_to_json
from gateway.manager.store import Transaction, bulk
from gateway.manager.store.control_tables import PLANS
from gateway.manager.store.silence import expected_until
from gateway.manager.store.tables import DEVICE_STATES, DEVICES, FLEETS, ROLLOUT_COUNTS, ROLLOUT_DEVICES, ROLLOUTS

_SELECT = sa.select(
    ROLLOUTS.c.id,
    FLEETS.c.name,
    *(ROLLOUTS.c.name, ROLLOUTS.c.policy, ROLLOUTS.c.definitions, ROLLOUTS.c.created, ROLLOUTS.c.rules),
    *(ROLLOUTS.c.undoes, ROLLOUTS.c.plan, ROLLOUTS.c.state, ROLLOUTS.c.reason),
    *(ROLLOUTS.c.stage, ROLLOUTS.c.lasted, ROLLOUTS.c.counted, ROLLOUTS.c.watched, ROLLOUTS.c.silent),
).join_from(ROLLOUTS, FLEETS)

_PREPARED = "preparing"
PUBLISHED = ROLLOUTS.c.state != _PREPARED
"""A rollout of many devices is written in several transactions, so that calls go on. Where the process ends before the
last one, nobody finds it, and the service deletes it later."""
_undo = ROLLOUTS.alias()
_HALTED = ROLLOUTS.c.state.in_(HALTED) | sa.tuple_(ROLLOUTS.c.fleet, ROLLOUTS.c.name).in_(
    sa.select(_undo.c.fleet, _undo.c.undoes).where(_undo.c.undoes.is_not(None), _undo.c.state != _PREPARED)
)
"""Aborted, stopped or undone."""
PART = 2000
"""Devices of one statement."""

T = TypeVar("T")
Moves: TypeAlias = dict[tuple[int, int], tuple[RolloutDeviceState, RolloutDeviceState]]
"""(device, rollout) -> the device's state in it before, and after."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """A deployment that a device has not fetched."""

    device: int
    rollout: int
    name: str
    paused: bool
    halted: bool


class RolloutRepository:
    """The rollouts within one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.connection = transaction.connection

    def prepare(self, new: NewRollout, now: float) -> tuple[int, str]:
        """The id and the name of a new rollout without devices, which nobody finds until it is published.

        Raises ManagerError where the fleet had a deployment of that name.
        """
        fleet = self._lock_fleet(new.fleet)
        rollout_id: int = self.connection.execute(
            sa.insert(ROLLOUTS).returning(ROLLOUTS.c.id),
            {
                "fleet": fleet,
                "name": new.name or "",
                "policy": new.policy,
                "definitions": json.dumps([asdict(each) for each in new.definitions]),
                "created": now,
                "rules": rules_to_json(new.rules),
                "undoes": new.undoes,
                "plan": new.plan,
                "state": _PREPARED,
                "counted": now,
                "watched": now,
            },
        ).scalar_one()
        name = new.name or f"{new.stem[:50]}-{rollout_id}"
        self.require_unused(new.fleet, name)
        self.update(rollout_id, name=name)
        return rollout_id, name

    def add_devices(self, rollout_id: int, places: Sequence[tuple[int, int]]) -> None:
        """Adds devices (place, id), those that are still registered, to a rollout that is not published."""
        is_one = bulk.is_one(self.connection, DEVICES.c.id, [device for _, device in places])
        select = sa.select(DEVICES.c.id).where(is_one).order_by(DEVICES.c.id)
        registered = set(self.connection.scalars(select.with_for_update(read=True, key_share=True)))
        rows = sorted((rollout_id, device, place) for place, device in places if device in registered)
        bulk.insert(self.connection, ROLLOUT_DEVICES, ("rollout", "device", "place"), rows)
        self.transaction.count_in_rollouts({(rollout_id, RolloutDeviceState.WAITING): len(rows)})

    def publish(self, rollout_id: int, new: NewRollout, name: str) -> RolloutState | None:
        """Makes it one that everybody finds. Raises ManagerError where another one got the name meanwhile.

        Also where a rollout that still has devices to reach has a handle of this one: it would later replace the newer
        file with the older one. The one that it undoes, if it is open, is aborted: the state that it had is returned.
        """
        fleet = self._lock_fleet(new.fleet)
        self.require_unused(new.fleet, name)
        undone = None if new.undoes is None else self.find(new.fleet, new.undoes)
        self._check_others(rollout_id, undone, fleet, new)
        before = None if undone is None else self.read(undone).progress.state
        is_open = (ROLLOUTS.c.id == undone) & ROLLOUTS.c.state.in_(OPEN)
        self.connection.execute(sa.update(ROLLOUTS).where(is_open).values(state=RolloutState.ABORTED))
        self.update(rollout_id, state=RolloutState.RUNNING)
        return before if before in OPEN else None

    def discard(self, rollout_id: int) -> bool:
        """Deletes a part of a rollout that is not published; False: it is gone."""
        device_ids = self._in_state(rollout_id, (RolloutDeviceState.WAITING,), PART)
        if not device_ids:
            self.connection.execute(sa.delete(ROLLOUTS).where(ROLLOUTS.c.id == rollout_id))
            return False
        is_one = bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, device_ids)
        delete = sa.delete(ROLLOUT_DEVICES).where(ROLLOUT_DEVICES.c.rollout == rollout_id, is_one)
        gone = self.connection.execute(delete).rowcount  # fewer where one was deregistered meanwhile
        self.transaction.count_in_rollouts({(rollout_id, RolloutDeviceState.WAITING): -gone})
        return True

    def abandoned(self, before: float) -> list[int]:
        """Those that were created before that time, and never published."""
        select = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.state == _PREPARED, ROLLOUTS.c.created < before)
        return list(self.connection.scalars(select))

    def _lock_fleet(self, fleet: str) -> int:
        """Its id. One rollout of a fleet is published at a time: it checks names and devices of the others."""
        select = sa.select(FLEETS.c.id).where(FLEETS.c.name == fleet).with_for_update(key_share=True)
        found: int | None = self.connection.scalar(select)
        if found is None:
            raise ManagerError(f"fleet {fleet} has no device: `manager devices` lists all")
        return found

    def _check_others(self, rollout_id: int, undone: int | None, fleet: int, new: NewRollout) -> None:
        handles = {each.handle for each in new.definitions}
        others = (
            (ROLLOUTS.c.fleet == fleet) & ROLLOUTS.c.state.in_(OPEN) & ROLLOUTS.c.id.not_in([rollout_id, undone or 0])
        )
        theirs, ours = ROLLOUT_DEVICES.alias(), ROLLOUT_DEVICES.alias()
        for other in self._rollouts(others):
            shared = sorted(handles & {each.handle for each in other.definitions})
            if not shared:
                continue
            select = sa.select(sa.literal(1)).join_from(theirs, ours, theirs.c.device == ours.c.device).limit(1)
            waiting = (theirs.c.rollout == other.id) & (theirs.c.state == RolloutDeviceState.WAITING)
            if self.connection.scalar(select.where(waiting, ours.c.rollout == rollout_id)):
                raise ManagerError(
                    f"{other.name} has not reached all its devices, and would then replace this {shared[0]}: "
                    f"`abort {new.fleet} {other.name}` first"
                )

    def require_unused(self, fleet: str, name: str) -> None:
        """Raises ManagerError where the fleet has or had a deployment of that name, or a deployment plan has it."""
        if self.connection.scalar(sa.select(PLANS.c.id).where(PLANS.c.name == name)) is not None:
            raise ManagerError(f"there is a deployment plan named {name}: give another --name")
        if self.find(fleet, name) is not None:
            raise ManagerError(f"there is or was a deployment named {name}: give another --name")

    def find(self, fleet: str, name: str) -> int | None:
        """The id of the newest rollout of that name; None: there is none."""
        select = sa.select(sa.func.max(ROLLOUTS.c.id)).join(FLEETS)
        found: int | None = self.connection.scalar(
            select.where(FLEETS.c.name == fleet, ROLLOUTS.c.name == name, PUBLISHED)
        )
        return found

    def list_rollouts(
        self,
        fleet: str | None = None,
        *,
        state: str | None = None,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Rollout]:
        """The rollouts of a fleet, or of every fleet, in order of creation, or the newest first.

        Those in that state, and those that follow the one with the id `after`.
        """
        number = ROLLOUTS.c.id
        select = sa.select(number).join(FLEETS).where(PUBLISHED)
        if after is not None:
            select = select.where(number < after if newest_first else number > after)
        if fleet is not None:
            select = select.where(FLEETS.c.name == fleet)
        if state is not None:
            select = select.where(ROLLOUTS.c.state == state)
        order = number.desc() if newest_first else number
        found = list(self.connection.scalars(select.order_by(order).limit(limit)))
        rollouts = self.read_all(found)
        return [rollouts[each] for each in found]

    def read(self, rollout_id: int) -> Rollout:
        [rollout] = self._rollouts(ROLLOUTS.c.id == rollout_id)
        return rollout

    def read_all(self, rollout_ids: Collection[int]) -> dict[int, Rollout]:
        """By their ids."""
        return {each.id: each for each in self._rollouts(bulk.is_one(self.connection, ROLLOUTS.c.id, rollout_ids))}

    def lock(self, rollout_id: int, *, wait: bool) -> bool:
        """Until the commit nobody else takes the rollout's steps. False, unless `wait`: another one takes one now."""
        select = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == rollout_id)
        return self.connection.scalar(select.with_for_update(skip_locked=not wait, key_share=True)) is not None

    def unfinished(self) -> list[Rollout]:
        """Those for which a step may be due."""
        assigned = sa.select(ROLLOUT_COUNTS.c.rollout).where(
            ROLLOUT_COUNTS.c.state == RolloutDeviceState.ASSIGNED, ROLLOUT_COUNTS.c.devices > 0
        )
        halted = ROLLOUTS.c.state.in_(HALTED) & ROLLOUTS.c.id.in_(assigned)
        return self._rollouts(ROLLOUTS.c.state.in_(OPEN) | halted)

    def reached_devices(self, rollout_id: int) -> dict[int, RolloutDeviceState]:
        """The devices that have it or may fetch it, or had it, and their states, in the order of the rollout."""
        without = (RolloutDeviceState.WAITING, RolloutDeviceState.SKIPPED, RolloutDeviceState.WITHDRAWN)
        select = sa.select(ROLLOUT_DEVICES.c.device, ROLLOUT_DEVICES.c.state).where(
            ROLLOUT_DEVICES.c.rollout == rollout_id, ROLLOUT_DEVICES.c.state.not_in(without)
        )
        found = self.connection.execute(select.order_by(ROLLOUT_DEVICES.c.place))
        return {device: RolloutDeviceState(state) for device, state in found}

    def next_devices(self, rollout_id: int, state: RolloutDeviceState, count: int) -> list[int]:
        """The first `count` devices in that state. They are locked; it is fewer where another one was quicker."""
        first = self._in_state(rollout_id, (state,), count)
        self.transaction.lock_devices(first)
        return self._in_state(rollout_id, (state,), None, among=first)

    def _in_state(
        self,
        rollout_id: int,
        states: Sequence[RolloutDeviceState],
        limit: int | None,
        among: Collection[int] | None = None,
    ) -> list[int]:
        select = sa.select(ROLLOUT_DEVICES.c.device).where(
            ROLLOUT_DEVICES.c.rollout == rollout_id, ROLLOUT_DEVICES.c.state.in_(states)
        )
        if among is not None:
            select = select.where(bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, among))
        return list(self.connection.scalars(select.order_by(ROLLOUT_DEVICES.c.place).limit(limit)))

    def update(self, rollout_id: int, **columns: object) -> None:
        self.connection.execute(sa.update(ROLLOUTS).where(ROLLOUTS.c.id == rollout_id).values(columns))

    def find_devices(
        self, deployments: Collection[tuple[int, str]]
    ) -> dict[tuple[int, str], tuple[int, RolloutDeviceState]]:
        """(device, name of a deployment) -> the id of that rollout, and the device's state in it."""
        given = bulk.given(self.connection, deployments, device=sa.BigInteger, name=sa.Text)
        select = (
            sa.select(given.c.device, given.c.name, ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state)
            .join_from(given, DEVICES, DEVICES.c.id == given.c.device)
            .join(ROLLOUTS, (ROLLOUTS.c.fleet == DEVICES.c.fleet) & (ROLLOUTS.c.name == given.c.name) & PUBLISHED)
            .join(
                ROLLOUT_DEVICES,
                (ROLLOUT_DEVICES.c.device == given.c.device) & (ROLLOUT_DEVICES.c.rollout == ROLLOUTS.c.id),
            )
        )
        found = self.connection.execute(select)
        return {(device, name): (rollout, RolloutDeviceState(state)) for device, name, rollout, state in found}

    def halted(self, device_ids: Collection[int]) -> dict[int, set[str]]:
        """Device -> the names of its deployments that were aborted, stopped or undone."""
        select = sa.select(ROLLOUT_DEVICES.c.device, ROLLOUTS.c.name).join_from(ROLLOUT_DEVICES, ROLLOUTS)
        names: dict[int, set[str]] = {device: set() for device in device_ids}
        is_one = bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, device_ids)
        for device, name in self.connection.execute(select.where(is_one, _HALTED)):
            names[device].add(name)
        return names

    def not_fetched(self, device_ids: Collection[int]) -> list[Assigned]:
        """What is assigned to these devices and was not fetched, in the order of the rollouts."""
        select = sa.select(
            *(ROLLOUT_DEVICES.c.device, ROLLOUTS.c.id, ROLLOUTS.c.name),
            *(ROLLOUTS.c.state == RolloutState.PAUSED, _HALTED),
        ).join_from(ROLLOUT_DEVICES, ROLLOUTS)
        is_one = bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, device_ids)
        is_assigned = ROLLOUT_DEVICES.c.state == RolloutDeviceState.ASSIGNED
        return [
            Assigned(*row) for row in self.connection.execute(select.where(is_one, is_assigned).order_by(ROLLOUTS.c.id))
        ]

    def count_silent(self, rollout: Rollout, watched: float, now: float) -> int:
        """How many of its pending devices are silent for `silent_after`, by what each announced; 0 without that rule.

        Since `watched` at the earliest.
        """
        after = rollout.progress.rules.silent_after
        if after is None or now - watched < after:
            return 0
        is_pending = (ROLLOUT_DEVICES.c.rollout == rollout.id) & ROLLOUT_DEVICES.c.state.in_(PENDING)
        joined = ROLLOUT_DEVICES.join(DEVICE_STATES, DEVICE_STATES.c.device == ROLLOUT_DEVICES.c.device)
        joined = joined.join(DEVICES, DEVICES.c.id == ROLLOUT_DEVICES.c.device)
        is_silent = expected_until() <= to_us(now - after)
        select = sa.select(sa.func.count()).select_from(joined).where(is_pending, is_silent)
        return int(self.connection.scalar(select) or 0)

    def not_reached(self, device_ids: Collection[int], now: float) -> dict[int, list[str]]:
        """Device -> the deployments for which it counts as not reached, in the order of their rollouts."""
        select = (
            sa.select(ROLLOUT_DEVICES.c.device, ROLLOUTS.c.name, ROLLOUTS.c.rules, ROLLOUTS.c.watched, expected_until())
            .join_from(ROLLOUT_DEVICES, ROLLOUTS)
            .join(DEVICES, DEVICES.c.id == ROLLOUT_DEVICES.c.device)
            .join(DEVICE_STATES, DEVICE_STATES.c.device == ROLLOUT_DEVICES.c.device)
            .where(bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, device_ids))
            .where(ROLLOUT_DEVICES.c.state.in_(PENDING), ROLLOUTS.c.rules.contains("silent_after"))
            .order_by(ROLLOUTS.c.id)
        )
        found: dict[int, list[str]] = {device: [] for device in device_ids}
        for device, name, rules, watched, until in self.connection.execute(select):
            after = rules_from_json(rules).silent_after
            if after is not None and now - watched >= after and until <= to_us(now - after):
                found[device].append(name)
        return found

    def move(self, moves: Moves) -> None:
        """Sets the states of devices that are locked, and changes the counts: the last change of a transaction."""
        counts: Counter[tuple[int, str]] = Counter()
        for (_, rollout), (before, after) in moves.items():
            counts[rollout, before] -= 1
            counts[rollout, after] += 1
        rows = [(device, rollout, str(after)) for (device, rollout), (_, after) in moves.items()]
        given = bulk.given(self.connection, rows, device=sa.BigInteger, rollout=sa.BigInteger, after=sa.Text)
        moved = (ROLLOUT_DEVICES.c.device == given.c.device) & (ROLLOUT_DEVICES.c.rollout == given.c.rollout)
        self.connection.execute(sa.update(ROLLOUT_DEVICES).values(state=given.c.after).where(moved))
        self.transaction.count_in_rollouts(counts)

    def _rollouts(self, which: sa.ColumnElement[bool]) -> list[Rollout]:
        rows = self.connection.execute(_SELECT.where(which, PUBLISHED).order_by(ROLLOUTS.c.id)).all()
        select = sa.select(ROLLOUT_COUNTS).join_from(ROLLOUT_COUNTS, ROLLOUTS).join(FLEETS).where(which, PUBLISHED)
        counts: dict[int, dict[RolloutDeviceState, int]] = {}
        for rollout, state, devices in self.connection.execute(select):
            counts.setdefault(rollout, {})[RolloutDeviceState(state)] = devices
        return [rollout_from(row, counts.get(row[0], {})) for row in rows]


def parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """In pieces: what is read or written by one statement."""
    return bulk.parts(items, PART)
