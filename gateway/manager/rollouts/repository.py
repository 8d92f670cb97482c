"""Rollouts in the database: created, found, read and changed. Decides no step. Times are Unix seconds."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from gateway.manager.api import ModelDefinition
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import decisions
from gateway.manager.rollouts.decisions import AT_ONCE, RolloutDeviceState, RolloutRules
from gateway.manager.store import Database

_COLUMNS = "id, fleet, name, policy, definitions, created, rules, undoes, state, reason, stage, since"
_SELECT = f"SELECT {_COLUMNS} FROM rollouts"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One deployment to many devices. `created`: Unix seconds; `undoes`: the deployment that it undoes.

    Where it undoes one, `definitions` has the handles only: each device gets what it had before.
    """

    id: int
    fleet: str
    name: str
    policy: str
    definitions: tuple[ModelDefinition, ...]
    created: float
    undoes: str | None
    reason: str
    progress: decisions.Progress


@dataclass(frozen=True, slots=True)
class NewRollout:
    """What `create` is to write. `name` None: made of `stem` and a number never used before."""

    fleet: str
    name: str | None
    stem: str
    policy: str
    definitions: tuple[ModelDefinition, ...]
    rules: RolloutRules = AT_ONCE
    undoes: str | None = None


class RolloutRepository:
    """The rollouts of an open database. sqlite3.Error: the disk fails."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connection = database.connection

    def next_id(self) -> int:
        """The id of the next rollout, unless another process creates one first."""
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rollouts'").fetchone()
        return 1 if row is None else int(row[0]) + 1

    def create(self, new: NewRollout, choose: Callable[[str], Sequence[int]], now: float) -> int:
        """The id of a new rollout to the devices that `choose` returns for its name, in that order.

        Raises ManagerError, and writes nothing, where the fleet had a deployment of that name, or where a rollout that
        still has devices to reach has a handle of this one: it would later replace the newer file with the older one.
        """
        with self.database.transaction():
            name = new.name or f"{new.stem[:50]}-{self.next_id()}"
            self.require_unused(new.fleet, name)
            definitions = json.dumps([asdict(each) for each in new.definitions])
            rollout_id = self.connection.execute(
                "INSERT INTO rollouts (fleet, name, policy, definitions, created, rules, undoes, since)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (new.fleet, name, new.policy, definitions, now, _rules_to_json(new.rules), new.undoes, now),
            ).lastrowid
            assert rollout_id is not None
            self.connection.executemany(
                "INSERT INTO rollout_devices (rollout, device, place) VALUES (?, ?, ?)",
                [(rollout_id, device_id, place) for place, device_id in enumerate(choose(name))],
            )
            self._check_others(rollout_id, new)
        return rollout_id

    def _check_others(self, rollout_id: int, new: NewRollout) -> None:
        handles = {each.handle for each in new.definitions}
        for other in self.list_rollouts(new.fleet):
            shared = sorted(handles & {each.handle for each in other.definitions})
            if other.id == rollout_id or other.progress.state not in decisions.OPEN or not shared:
                continue
            row = self.connection.execute(
                "SELECT 1 FROM rollout_devices AS theirs JOIN rollout_devices AS ours USING (device)"
                " WHERE theirs.rollout = ? AND theirs.state = ? AND ours.rollout = ? LIMIT 1",
                (other.id, RolloutDeviceState.WAITING, rollout_id),
            ).fetchone()
            if row is not None:
                raise ManagerError(
                    f"{other.name} has not reached all its devices, and would then replace this {shared[0]}: "
                    f"`abort {new.fleet} {other.name}` first"
                )

    def require_unused(self, fleet: str, name: str) -> None:
        """Raises ManagerError where the fleet has or had a deployment of that name."""
        if self.find(fleet, name) is not None:
            raise ManagerError(f"there is or was a deployment named {name}: give another --name")

    def find(self, fleet: str, name: str) -> int | None:
        """The id of the newest rollout of that name; None: there is none."""
        find = "SELECT max(id) FROM rollouts WHERE fleet = ? AND name = ?"
        row = self.connection.execute(find, (fleet, name)).fetchone()
        return None if row[0] is None else int(row[0])

    def list_rollouts(self, fleet: str | None = None) -> list[Rollout]:
        """All rollouts of a fleet, or of every fleet, in order of creation."""
        select = f"{_SELECT} WHERE fleet = :fleet OR :fleet IS NULL ORDER BY id"
        return [self._rollout(row) for row in self.connection.execute(select, {"fleet": fleet}).fetchall()]

    def read(self, rollout_id: int) -> Rollout:
        return self._rollout(self.connection.execute(f"{_SELECT} WHERE id = ?", (rollout_id,)).fetchone())

    def unfinished(self) -> list[int]:
        """The ids of those for which a step may be due."""
        rows = self.connection.execute(
            "SELECT id FROM rollouts WHERE state IN ('running', 'paused') OR state IN ('stopped', 'aborted') AND EXISTS"
            " (SELECT 1 FROM rollout_counts AS counts WHERE rollout = id AND counts.state = ? AND devices > 0)",
            (RolloutDeviceState.ASSIGNED,),
        )
        return [int(rollout_id) for (rollout_id,) in rows]

    def reached_devices(self, rollout_id: int) -> list[int]:
        """The devices that have it or may fetch it, and those with a result, in the order of the rollout."""
        states = (*decisions.PENDING, *decisions.RESULTS.values())
        rows = self.connection.execute(
            "SELECT device FROM rollout_devices WHERE rollout = ?"
            f" AND state IN ({_placeholders(states)}) ORDER BY place",
            (rollout_id, *states),
        )
        return [int(device_id) for (device_id,) in rows]

    def update(self, rollout_id: int, **columns: object) -> None:
        changes = ", ".join(f"{column} = ?" for column in columns)
        self.connection.execute(f"UPDATE rollouts SET {changes} WHERE id = ?", (*columns.values(), rollout_id))

    def find_device(self, device_id: int, name: str) -> tuple[int, RolloutDeviceState] | None:
        """The id of the rollout of that name to the device, and the device's state in it; None: there is none."""
        row = self.connection.execute(
            "SELECT rollout, rollout_devices.state FROM rollout_devices JOIN rollouts ON rollouts.id = rollout"
            " WHERE device = ? AND name = ?",
            (device_id, name),
        ).fetchone()
        return None if row is None else (row[0], RolloutDeviceState(row[1]))

    def not_fetched(self, device_id: int) -> list[tuple[int, str]]:
        """Ids and names of the rollouts that are assigned to the device and that it has not fetched."""
        return self.connection.execute(
            "SELECT rollout, name FROM rollout_devices JOIN rollouts ON rollouts.id = rollout"
            " WHERE device = ? AND rollout_devices.state = ?",
            (device_id, RolloutDeviceState.ASSIGNED),
        ).fetchall()

    def set_device(self, rollout_id: int, device_id: int, state: RolloutDeviceState) -> None:
        update = "UPDATE rollout_devices SET state = ? WHERE rollout = ? AND device = ?"
        self.connection.execute(update, (state, rollout_id, device_id))

    def change_device(
        self, device_id: int, names: Iterable[str], before: Sequence[RolloutDeviceState], after: RolloutDeviceState
    ) -> None:
        """Changes the state of the device in the rollouts of those names, where it is one of `before`."""
        self.connection.executemany(
            "UPDATE rollout_devices SET state = ? WHERE device = ?"
            f" AND state IN ({_placeholders(before)}) AND rollout IN (SELECT id FROM rollouts WHERE name = ?)",
            [(after, device_id, *before, name) for name in names],
        )

    def next_devices(self, rollout_id: int, state: RolloutDeviceState, count: int) -> list[int]:
        """The first `count` devices in that state."""
        select = "SELECT device FROM rollout_devices WHERE rollout = ? AND state = ? ORDER BY place LIMIT ?"
        rows = self.connection.execute(select, (rollout_id, state, count))
        return [int(device_id) for (device_id,) in rows.fetchall()]

    def _rollout(self, row: tuple[Any, ...]) -> Rollout:
        rollout_id, fleet, name, policy, definitions, created, rules, undoes, state, reason, stage, since = row
        rows = self.connection.execute("SELECT state, devices FROM rollout_counts WHERE rollout = ?", (rollout_id,))
        devices = {RolloutDeviceState(each): int(count) for each, count in rows}
        return Rollout(
            id=rollout_id,
            fleet=fleet,
            name=name,
            policy=policy,
            definitions=tuple(ModelDefinition(**each) for each in json.loads(definitions)),
            created=created,
            undoes=undoes,
            reason=reason,
            progress=decisions.Progress(_rules_from_json(rules), decisions.RolloutState(state), stage, since, devices),
        )


def _placeholders(values: Sequence[object]) -> str:
    """A question mark for each value of SQL's IN."""
    return ", ".join("?" * len(values))


def _rules_to_json(rules: RolloutRules) -> str:
    stages = [(str(stage.share), str(stage.min_success), stage.wait) for stage in rules.stages]
    stop_at = None if rules.stop_at is None else str(rules.stop_at)
    return json.dumps({"stages": stages, "stop_at": stop_at, "stop_min": rules.stop_min})


def _rules_from_json(text: str) -> RolloutRules:
    members = json.loads(text)
    if not members:  # the deployment is older than rollouts
        return AT_ONCE
    stages = [decisions.Stage(Fraction(share), Fraction(success), wait) for share, success, wait in members["stages"]]
    stop_at = members["stop_at"]
    return RolloutRules(tuple(stages), None if stop_at is None else Fraction(stop_at), members["stop_min"])
