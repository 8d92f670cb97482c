"""What is read and changed within one transaction: devices, their deployments. No HTTP, no clock, no commit.

The same statements for both engines. A change of a device's deployments gives its plan a new number: whoever keeps the
answer to GetDeployments keeps it by that number.

Locks, which PostgreSQL holds until the commit, are taken in this order by every transaction, so that none waits for
another one in a circle:

0.  the row of `plans`, by who changes a deployment plan or its stages, or deletes their fleet;
1.  the row of `rollouts`, by who takes its next step; the row of `fleets`, by who creates a rollout in it, registers
    devices in it, or deletes it: then its rollouts;
2.  rows of `device_states`, in the order of their numbers, by one statement: whoever changes anything of a device, its
    deployments or its states in rollouts, holds its row;
3.  what belongs to these devices, in any order, but the rows of `tags` after the row of what has them (of a device that
    of `devices`): who changes the tags of one resource holds that one alone;
4.  new rows of `metric_names`, in the order of their names, by one statement;
5.  rows of `fleet_states` (`heartbeats.add_devices`), then of `fleet_models` (`heartbeats.add_models`), in their order,
    by one statement each;
6.  rows of `rollout_counts` (`Transaction.count_in_rollouts`), likewise: many transactions wait for them;
7.  rows of `history_days` (`history.add_usage`), likewise.

Who carries out jobs (`control.jobs`) takes the row of `tasks`, then that of the job; who stops or deletes a job, the
latter alone.

Who works on the history (`history_compaction`, `history_retention`) takes the row of `tasks` first, and of a device the
row of `devices` alone, shared: only who deregisters it waits.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.manager.api import DeviceDeployment, ModelDefinition, fall_back, in_force
from gateway.manager.store import bulk, reported
from gateway.manager.store.audit import Auditor, ResourceState
from gateway.manager.store.control_tables import TAGS, device_resource, fleet_resource
from gateway.manager.store.heartbeats import add_devices, add_log, add_models, read_devices
from gateway.manager.store.labels import has_labels
from gateway.manager.store.paging import device_page, is_of
from gateway.manager.store.recording import LogEntry, StoredDevice
from gateway.manager.store.tables import (
    DEPLOYMENTS,
    DEREGISTERED,
    DEVICE_STATES,
    DEVICES,
    FLEET_STATES,
    FLEETS,
    ROLLOUT_COUNTS,
    ROLLOUT_DEVICES,
    TASKS,
)

NEVER_HEARD = "never heard"
"""The state of a device before its first call."""
PART = 5000
"""Names of one statement."""
_COUNT = "(rollout, state) DO UPDATE SET devices = rollout_counts.devices + excluded.devices"


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """`number` changes with the device's deployments; `fetched`: the number that GetDeployments answered last.

    `registered`: when the device was registered, in Unix seconds.
    """

    device: int
    number: int
    fetched: int
    registered: float


class Transaction:
    """The database within one transaction. Times are Unix seconds; `device_id` never comes twice.

    Raises sqlalchemy.exc.DBAPIError, which `Store.write` and `Store.read` translate.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        self._insert = dialect.insert

    def touch(self) -> None:
        """A change that changes nothing."""
        insert = self._insert(TASKS).values(name="touch", done=0.0)
        self.connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"done": TASKS.c.done + 1}))

    def fleet_id(self, fleet: str) -> int | None:
        """None: no device was ever registered in it."""
        found: int | None = self.connection.scalar(sa.select(FLEETS.c.id).where(FLEETS.c.name == fleet))
        return found

    def add_fleet(self, fleet: str, now: float) -> int:
        """Its number, also where it was there. Until the commit nobody deletes it."""
        insert = self._insert(FLEETS).values(name=fleet, created=now, changed=now)
        as_it_is = insert.on_conflict_do_update(index_elements=["name"], set_={"changed": FLEETS.c.changed})
        number: int = self.connection.execute(as_it_is.returning(FLEETS.c.id)).scalar_one()
        return number

    def register(self, fleet: str, devices: Iterable[str], now: float, auditor: Auditor | None = None) -> set[str]:
        """Registers devices; those that were registered already are left as they are. The names of the new ones."""
        is_new = auditor is not None and self.fleet_id(fleet) is None
        number, names = self.add_fleet(fleet, now), list(dict.fromkeys(devices))
        new: dict[str, int] = {}
        for part in bulk.parts(names, PART):
            rows = [{"fleet": number, "name": name, "registered": now} for name in part]
            insert = self._insert(DEVICES).on_conflict_do_nothing().returning(DEVICES.c.name, DEVICES.c.id)
            new |= dict(self.connection.execute(insert, rows).all())
        states = [(device, number, NEVER_HEARD) for device in new.values()]
        bulk.insert(self.connection, DEVICE_STATES, ("device", "fleet", "state"), states)
        add_devices(self.connection, {(number, NEVER_HEARD): len(new)})
        if auditor is not None:
            if is_new:
                auditor.add(self.connection, [(fleet_resource(fleet), None, {"DeviceFleetName": fleet})])
            auditor.add(self.connection, (_registration(fleet, device, after=True) for device in new))
        return set(new)

    def deregister(self, fleet: str, device: str, auditor: Auditor | None = None) -> bool:
        """Deletes the device with all that is kept of it. False where it was not registered."""
        gone = self.deregister_all(fleet, [device])
        if gone and auditor is not None:
            auditor.add(self.connection, [_registration(fleet, device, after=False)])
        return bool(gone)

    def deregister_all(self, fleet: str, devices: Iterable[str]) -> set[str]:
        """Deletes devices, with all that is kept of them. The names of those that were registered.

        Nobody finds their samples then; the compaction and the retention delete them in parts.
        """
        gone = read_devices(self.connection, ((fleet, device) for device in dict.fromkeys(devices)), lock=True)
        ids = [each.id for each in gone.values()]
        states = sa.select(ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state, sa.func.count())
        in_rollouts = self.connection.execute(
            states.where(bulk.is_one(self.connection, ROLLOUT_DEVICES.c.device, ids)).group_by(
                ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state
            )
        ).all()
        self.connection.execute(sa.delete(DEVICES).where(bulk.is_one(self.connection, DEVICES.c.id, ids)))
        bulk.insert(self.connection, DEREGISTERED, ("device",), [(number,) for number in ids])
        tagged = bulk.given(self.connection, ([device_resource(*name)] for name in gone), resource=sa.Text)
        self.connection.execute(sa.delete(TAGS).where(TAGS.c.resource.in_(sa.select(tagged.c.resource))))
        states_left = Counter((each.fleet, each.judged) for each in gone.values())
        add_devices(self.connection, {state: -count for state, count in states_left.items()})
        models: Counter[tuple[int, str, str]] = Counter()
        for each in gone.values():
            newest = reported.newest_versions(reported.unpack(each.reported).models)
            models.subtract((each.fleet, *model) for model, is_newest in newest.items() if is_newest)
        add_models(self.connection, models)
        self.count_in_rollouts({(rollout, state): -count for rollout, state, count in in_rollouts})
        return {name for _, name in gone}

    def lock_devices(self, device_ids: Collection[int]) -> None:
        """Until the commit no other transaction changes these devices, or what belongs to them."""
        if self.connection.dialect.name == "postgresql":
            is_one, parameters = bulk.numbers(self.connection, device_ids)
            lock = f"SELECT device FROM device_states WHERE device {is_one} ORDER BY device FOR UPDATE"
            self.connection.exec_driver_sql(lock, parameters)

    def count_in_rollouts(self, moved: Mapping[tuple[int, str], int]) -> None:
        """Changes the counts of devices by rollout and state: by how much each one grows."""
        rows = [(*key, by) for key, by in sorted(moved.items()) if by]
        bulk.insert(self.connection, ROLLOUT_COUNTS, ("rollout", "state", "devices"), rows, _COUNT)

    def log(self, entries: Sequence[LogEntry]) -> None:
        """Appends to the devices' logs."""
        add_log(self.connection, entries)

    def read_devices(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredDevice]:
        """By names of fleet and device; those that are not registered are left out."""
        return read_devices(self.connection, names)

    def read_plans(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], DevicePlan]:
        """By names of fleet and device; those that are not registered are left out."""
        source, parameters = bulk.devices(self.connection, names)
        columns = "wanted.fleet, wanted.name, devices.id, devices.plan, devices.fetched, devices.registered"
        found = bulk.fetch(self.connection, columns, f"FROM {source}", parameters)
        return {(fleet, name): DevicePlan(*row) for fleet, name, *row in found}

    def device_id(self, fleet: str, device: str) -> int | None:
        """None: the device is not registered."""
        found = self.device_ids(fleet, [device])
        return found.get(device)

    def device_ids(self, fleet: str, devices: Collection[str] | None = None) -> dict[str, int]:
        """Names of a fleet's devices, of all or of those -> their ids; in order of their names."""
        select = sa.select(DEVICES.c.name, DEVICES.c.id).where(is_of(fleet)).order_by(DEVICES.c.name)
        if devices is None:
            return dict(self.connection.execute(select).all())
        found: dict[str, int] = {}
        for part in bulk.parts(list(devices), PART):
            found |= dict(self.connection.execute(select.where(DEVICES.c.name.in_(part))).all())
        return found

    def devices_with(self, fleet: str, labels: Mapping[str, str]) -> dict[str, int]:
        """Names of a fleet's devices that have each of the labels -> their ids; in order of their names."""
        select = sa.select(DEVICES.c.name, DEVICES.c.id).join(FLEETS).where(is_of(fleet), *has_labels(labels))
        return dict(self.connection.execute(select.order_by(DEVICES.c.name)).all())

    def device_part(self, fleet: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """(name, id) of a fleet's devices, in order of their names: those after that name, at most `limit`."""
        mark = "%s" if self.connection.dialect.name == "postgresql" else "?"
        of_fleet = f"fleet = (SELECT id FROM fleets WHERE name = {mark})"
        part = f"(SELECT name, id FROM devices WHERE {of_fleet} AND name > {mark} ORDER BY name LIMIT {mark})"
        found = bulk.fetch(self.connection, "name, id", f"FROM {part} AS part", (fleet, after, limit))
        return [(name, number) for name, number in found]

    def devices(
        self, fleet: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[tuple[str, str, float]]:
        """(fleet, device, time of registration), in order of their names; those after `after`, at most `limit`."""
        select = sa.select(FLEETS.c.name, DEVICES.c.name, DEVICES.c.registered).join_from(DEVICES, FLEETS)
        return [(each[0], each[1], each[2]) for each in device_page(self.connection, select, fleet, after, limit)]

    def has_devices(self, fleet: str) -> bool:
        """A fleet exists while it has a device."""
        counted = sa.select(FLEET_STATES.c.fleet).join(FLEETS, FLEETS.c.id == FLEET_STATES.c.fleet)
        select = counted.where(FLEETS.c.name == fleet, FLEET_STATES.c.devices > 0).limit(1)
        return self.connection.scalar(select) is not None

    def deployments_in_force(self, device_ids: Collection[int]) -> dict[int, list[DeviceDeployment]]:
        """Of each device, in order of creation."""
        return {device: in_force(each) for device, each in self._deployments(device_ids, only_in_force=True).items()}

    def history(self, device_ids: Collection[int]) -> dict[int, list[DeviceDeployment]]:
        """Of each device: all that were ever assigned and not withdrawn, in order of creation."""
        return self._deployments(device_ids, only_in_force=False)

    def _deployments(self, device_ids: Collection[int], only_in_force: bool) -> dict[int, list[DeviceDeployment]]:
        found: dict[int, list[DeviceDeployment]] = {device: [] for device in device_ids}
        is_one, parameters = bulk.numbers(self.connection, device_ids)
        select = (
            "SELECT device, name, policy, definitions, created FROM deployments"
            f" WHERE device {is_one}{' AND in_force' if only_in_force else ''} ORDER BY device, id"
        )
        for device, *row in self.connection.exec_driver_sql(select, parameters):
            found[device].append(_deployment(*row))
        return found

    def assign(
        self, deployments: Mapping[int, DeviceDeployment], before: Mapping[int, Sequence[DeviceDeployment]]
    ) -> dict[int, list[str]]:
        """Assigns a deployment to each device, where `before` are in force. Device -> the names that it supersedes."""
        rows, superseded = [], {}
        different = {deployment.definitions for deployment in deployments.values()}
        written = {each: _written(each) for each in different}
        for device, deployment in deployments.items():
            after = {each.name for each in in_force([*before[device], deployment])}
            superseded[device] = [each.name for each in before[device] if each.name not in after]
            definitions = written[deployment.definitions]
            rows.append((device, deployment.name, deployment.policy, definitions, deployment.created))
        bulk.insert(self.connection, DEPLOYMENTS, ("device", "name", "policy", "definitions", "created"), rows)
        self._set_in_force(superseded, False)
        self._change_plans(deployments)
        return superseded

    def withdraw(
        self, device_ids: Collection[int], name: str, halted: Mapping[int, Collection[str]]
    ) -> dict[int, list[str]]:
        """Deletes a deployment that was not fetched from each device. Device -> the names of those in force then.

        `halted`: device -> names of its deployments that are never in force again.
        """
        before = self.deployments_in_force(device_ids)
        is_one, parameters = bulk.numbers(self.connection, device_ids)
        mark = "%s" if self.connection.dialect.name == "postgresql" else "?"
        delete = f"DELETE FROM deployments WHERE name = {mark} AND device {is_one}"
        self.connection.exec_driver_sql(delete, (name, *parameters))
        names = {}
        for device, known in self.history(device_ids).items():
            after = fall_back(known, before[device], halted.get(device, ()))
            names[device] = [each.name for each in after]
            self._cut(device, known, [each for each in after if each.name in halted.get(device, ())])
        self._set_in_force(names, True)
        self._change_plans(device_ids)
        return names

    def _cut(self, device: int, known: Iterable[DeviceDeployment], halted: Iterable[DeviceDeployment]) -> None:
        """Of a halted deployment with several handles, those that a newer one replaced are gone for good."""
        stored = {each.name: each.definitions for each in known}
        for each in halted:
            if each.definitions != stored[each.name]:
                row = (DEPLOYMENTS.c.device == device) & (DEPLOYMENTS.c.name == each.name)
                update = sa.update(DEPLOYMENTS).where(row)
                self.connection.execute(update.values(definitions=_written(each.definitions)))

    def mark_fetched(self, plans: Mapping[int, int]) -> set[int]:
        """Devices, which are locked, fetch their plans. Those whose plan still has that number (device -> number)."""
        given = bulk.given(self.connection, plans.items(), device=sa.BigInteger, plan=sa.BigInteger)
        same = (DEVICES.c.id == given.c.device) & (DEVICES.c.plan == given.c.plan)
        update = sa.update(DEVICES).values(fetched=DEVICES.c.plan).where(same).returning(DEVICES.c.id)
        return set(self.connection.scalars(update))

    def _set_in_force(self, names: Mapping[int, Sequence[str]], value: bool) -> None:
        rows = [(device, name) for device, each in names.items() for name in each]
        if rows:
            given = bulk.given(self.connection, rows, device=sa.BigInteger, name=sa.Text)
            named = (DEPLOYMENTS.c.device == given.c.device) & (DEPLOYMENTS.c.name == given.c.name)
            self.connection.execute(sa.update(DEPLOYMENTS).values(in_force=value).where(named))

    def _change_plans(self, device_ids: Iterable[int]) -> None:
        is_one, parameters = bulk.numbers(self.connection, device_ids)
        self.connection.exec_driver_sql(f"UPDATE devices SET plan = plan + 1 WHERE id {is_one}", parameters)


def _registration(fleet: str, device: str, *, after: bool) -> tuple[str, ResourceState, ResourceState]:
    members = {"DeviceFleetName": fleet, "DeviceName": device}
    return device_resource(fleet, device), None if after else members, members if after else None


def _written(definitions: Iterable[ModelDefinition]) -> str:
    return json.dumps([asdict(each) for each in definitions])


def _deployment(name: str, policy: str, definitions: str, created: float) -> DeviceDeployment:
    return DeviceDeployment(name, policy, tuple(ModelDefinition(**each) for each in json.loads(definitions)), created)
