"""Rollouts in the database: begun, found, read and changed. It decides nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

from gateway.manager.api.deployments import Definition
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts.decisions import (
    AT_ONCE,
    OPEN,
    PENDING,
    VERDICTS,
    DeviceState,
    Progress,
    Rules,
    Stage,
    State,
)
from gateway.manager.store.database import Store

SLICE = 100
_READ = "SELECT id, fleet, name, policy, definitions, created, rules, undoes, state, reason, stage, since FROM rollouts"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One deployment to many devices. `created` in Unix seconds; `undoes`: the deployment that it takes back.

    Of one that undoes, `definitions` tells the handles alone: each device gets what it had before.
    """

    number: int
    fleet: str
    name: str
    policy: str
    definitions: tuple[Definition, ...]
    created: float
    undoes: str | None
    reason: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Draft:
    """What `begin` is to write. `name` None: made of `stem` and a number never used before."""

    fleet: str
    name: str | None
    stem: str
    policy: str
    definitions: tuple[Definition, ...]
    rules: Rules = AT_ONCE
    undoes: str | None = None


class Rollouts:
    """Over an open store. Times are Unix seconds. sqlite3.Error: the disk fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connection = store.connection

    def next_number(self) -> int:
        """What the next rollout will be called by, unless another process begins one first."""
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rollouts'").fetchone()
        return 1 if row is None else int(row[0]) + 1

    def begin(self, draft: Draft, choose: Callable[[str], Sequence[int]], now: float) -> int:
        """The number of a new rollout that reaches the devices that `choose` has for its name, in that order.

        Raises ManagerError where the fleet had a deployment of that name, or a rollout that still has devices to reach
        names a handle of this one: it would later put the older file over the newer one. Then nothing is written.
        """
        with self.store.transaction():
            name = draft.name or f"{draft.stem[:50]}-{self.next_number()}"
            if self.find(draft.fleet, name) is not None:
                raise ManagerError(f"a deployment named {name} was there before: give another --name")
            definitions = json.dumps([asdict(each) for each in draft.definitions])
            number = self.connection.execute(
                "INSERT INTO rollouts (fleet, name, policy, definitions, created, rules, undoes, since)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (draft.fleet, name, draft.policy, definitions, now, _written(draft.rules), draft.undoes, now),
            ).lastrowid
            assert number is not None
            self.connection.executemany(
                "INSERT INTO rollout_devices (rollout, device, place) VALUES (?, ?, ?)",
                [(number, device, place) for place, device in enumerate(choose(name))],
            )
            self._check_others(number, draft)
        return number

    def _check_others(self, number: int, draft: Draft) -> None:
        handles = {each.handle for each in draft.definitions}
        for other in self.of_fleet(draft.fleet):
            shared = sorted(handles & {each.handle for each in other.definitions})
            if other.number == number or other.progress.state not in OPEN or not shared:
                continue
            row = self.connection.execute(
                "SELECT 1 FROM rollout_devices AS waiting JOIN rollout_devices AS mine USING (device)"
                " WHERE waiting.rollout = ? AND waiting.state = 'waiting' AND mine.rollout = ? LIMIT 1",
                (other.number, number),
            ).fetchone()
            if row is not None:
                raise ManagerError(
                    f"{other.name} has not reached all its devices, and would then replace this {shared[0]}: "
                    f"`abort {draft.fleet} {other.name}` first"
                )

    def find(self, fleet: str, name: str) -> int | None:
        """The number of the newest rollout of that name; None: there was none."""
        row = self.connection.execute(
            "SELECT max(id) FROM rollouts WHERE fleet = ? AND name = ?", (fleet, name)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def of_fleet(self, fleet: str | None = None) -> list[Rollout]:
        """All rollouts of a fleet, or of every fleet, in order of creation."""
        rows = self.connection.execute(
            f"{_READ} WHERE fleet = :fleet OR :fleet IS NULL ORDER BY id", {"fleet": fleet}
        ).fetchall()
        return [self._rollout(*row) for row in rows]

    def read(self, number: int) -> Rollout:
        """One rollout as it is now."""
        return self._rollout(*self.connection.execute(f"{_READ} WHERE id = ?", (number,)).fetchone())

    def open(self) -> list[int]:
        """Those that a step may be due for."""
        rows = self.connection.execute(
            "SELECT id FROM rollouts WHERE state IN ('running', 'paused') OR state IN ('stopped', 'aborted') AND EXISTS"
            " (SELECT 1 FROM rollout_counts AS each WHERE rollout = id AND each.state = 'given' AND devices > 0)"
        )
        return [int(number) for (number,) in rows]

    def reached(self, number: int) -> list[int]:
        """The devices that know of it or may come to: those that have it and those with a verdict, in its order."""
        states = (*PENDING, *VERDICTS.values())
        rows = self.connection.execute(
            f"SELECT device FROM rollout_devices WHERE rollout = ? AND state IN ({marks(states)}) ORDER BY place",
            (number, *states),
        )
        return [int(device) for (device,) in rows]

    def set(self, number: int, **columns: object) -> None:
        """Change columns of one rollout."""
        changes = ", ".join(f"{column} = ?" for column in columns)
        self.connection.execute(f"UPDATE rollouts SET {changes} WHERE id = ?", (*columns.values(), number))

    def set_device(self, number: int, device: int, state: DeviceState) -> None:
        """Change the state of one device in a rollout."""
        self.connection.execute(
            "UPDATE rollout_devices SET state = ? WHERE rollout = ? AND device = ?", (state, number, device)
        )

    def some(self, number: int, state: DeviceState, count: int) -> list[int]:
        """The first `count` devices in that state."""
        rows = self.connection.execute(
            "SELECT device FROM rollout_devices WHERE rollout = ? AND state = ? ORDER BY place LIMIT ?",
            (number, state, count),
        )
        return [int(device) for (device,) in rows.fetchall()]

    def _rollout(
        self,
        number: int,
        fleet: str,
        name: str,
        policy: str,
        definitions: str,
        created: float,
        rules: str,
        undoes: str | None,
        state: str,
        reason: str,
        stage: int,
        since: float,
    ) -> Rollout:
        rows = self.connection.execute("SELECT state, devices FROM rollout_counts WHERE rollout = ?", (number,))
        devices = {DeviceState(each): int(count) for each, count in rows}
        return Rollout(
            number=number,
            fleet=fleet,
            name=name,
            policy=policy,
            definitions=tuple(Definition(**each) for each in json.loads(definitions)),
            created=created,
            undoes=undoes,
            reason=reason,
            progress=Progress(_read(rules), State(state), stage, since, devices),
        )


def marks(values: Sequence[object]) -> str:
    """A question mark for each value of SQL's IN."""
    return ", ".join("?" * len(values))


def _written(rules: Rules) -> str:
    stages = [(str(stage.share), str(stage.min_success), stage.wait) for stage in rules.stages]
    stop_at = None if rules.stop_at is None else str(rules.stop_at)
    return json.dumps({"stages": stages, "stop_at": stop_at, "stop_min": rules.stop_min})


def _read(text: str) -> Rules:
    known = json.loads(text)
    if not known:  # of a deployment that an earlier version made
        return AT_ONCE
    stages = tuple(Stage(Fraction(share), Fraction(least), wait) for share, least, wait in known["stages"])
    stop_at = known["stop_at"]
    return Rules(stages, None if stop_at is None else Fraction(stop_at), known["stop_min"])
