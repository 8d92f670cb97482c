"""The manager's SQLite database: devices, deployments and what devices reported. No HTTP, no clock.

Every change is one transaction. In WAL mode a committed one survives kill -9; with `power_safe` it survives a power cut
too, at one fsync a change. Several processes may use one file. Deregistering a device must remove all of it: its state,
its deployments and its results.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

from gateway.errors import explain
from gateway.manager.api import DeviceDeployment, LatestValues, ModelDefinition, in_force
from gateway.manager.errors import ManagerError
from gateway.manager.store.schema import FORMATS, VERSION

DEFAULT_DATA = Path("edge-manager-data")
"""The data directory of `serve` and the other commands where none is given: in the current directory."""
FILE = "manager.sqlite3"
LOCK = "opening.lock"
BUSY = 5.0
"""Seconds for which one process waits while another writes."""


def open_database(data: Path, *, create: bool, power_safe: bool = False, read_only: bool = False) -> "Database":
    """The database in the directory `data`. `read_only`: nothing is written, but for an older format, which is updated.

    Raises ManagerError where there is none and `create` is false, or where it cannot be used.
    """
    path = data / FILE
    if not create and not path.is_file():
        hint = "--data or EDGE_MANAGER_DATA names the directory that `serve` made"
        raise ManagerError(f"no Edge Manager data in {data.absolute()}: {hint}")
    try:
        if read_only and (reading := _open_to_read(path)) is not None:
            return Database(reading)
        data.mkdir(parents=True, exist_ok=True)
        with _opening_lock(data):
            connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, cached_statements=64)
            try:
                _prepare(connection, path, power_safe)
            except BaseException:
                connection.close()
                raise
    except (OSError, sqlite3.Error) as error:
        raise ManagerError(f"the manager's database: {explain(error, path)}") from error
    return Database(connection)


def _open_to_read(path: Path) -> sqlite3.Connection | None:
    """A connection that needs no right to write; None where the file has another format.

    Without a WAL file no process has it open, and SQLite would make that file, even to read.
    """
    immutable = "" if path.with_name(f"{FILE}-wal").exists() else "&immutable=1"
    uri = f"{path.absolute().as_uri()}?mode=ro{immutable}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, cached_statements=64)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


@contextmanager
def _opening_lock(data: Path) -> Iterator[None]:
    """One process at a time opens the file: SQLite's timeout does not cover the change of a new file to WAL."""
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(connection: sqlite3.Connection, path: Path, power_safe: bool) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
    with _transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ManagerError(f"{path} has format {version}; this program reads formats up to {VERSION}")
        for statements in FORMATS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class Database:
    """Devices, their deployments, what they reported. Times are Unix seconds. sqlite3.Error: the disk fails.

    `device_id` is a registered device's number here; it never comes twice.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"Database({self.connection.execute('SELECT count(*) FROM devices').fetchone()[0]} devices)"

    def close(self) -> None:
        self.connection.close()

    def transaction(self) -> AbstractContextManager[None]:
        """The changes in the block are made together or not at all; no other process writes meanwhile."""
        return _transaction(self.connection)

    def ping(self) -> None:
        """Raises sqlite3.Error where the database cannot be read."""
        self.connection.execute("SELECT 1 FROM devices LIMIT 1").fetchone()

    def register(self, fleet: str, device: str, now: float) -> bool:
        """False where it was registered already."""
        insert = "INSERT INTO devices (fleet, device, registered) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        return self.connection.execute(insert, (fleet, device, now)).rowcount == 1

    def deregister(self, fleet: str, device: str) -> bool:
        """False where it was not registered."""
        cursor = self.connection.execute("DELETE FROM devices WHERE fleet = ? AND device = ?", (fleet, device))
        return cursor.rowcount == 1

    def device_id(self, fleet: str, device: str) -> int | None:
        """None: the device is not registered."""
        find = "SELECT id FROM devices WHERE fleet = ? AND device = ?"
        row = self.connection.execute(find, (fleet, device)).fetchone()
        return None if row is None else int(row[0])

    def devices(self, fleet: str | None = None) -> list[tuple[str, str, float]]:
        """(fleet, device, time of registration), in order of their names."""
        return self.connection.execute(
            "SELECT fleet, device, registered FROM devices"
            " WHERE fleet = :fleet OR :fleet IS NULL ORDER BY fleet, device",
            {"fleet": fleet},
        ).fetchall()

    def device_ids(self, fleet: str) -> dict[str, int]:
        """Names of a fleet's devices -> their ids."""
        return dict(self.connection.execute("SELECT device, id FROM devices WHERE fleet = ? ORDER BY device", (fleet,)))

    def deployments_in_force(self, device_id: int) -> list[DeviceDeployment]:
        """In order of creation."""
        select = "SELECT name, policy, definitions, created FROM deployments WHERE device = ? AND in_force ORDER BY id"
        return in_force([_deployment(*row) for row in self.connection.execute(select, (device_id,))])

    def history(self, device_id: int) -> list[DeviceDeployment]:
        """All that were ever assigned and not withdrawn, in order of creation."""
        select = "SELECT name, policy, definitions, created FROM deployments WHERE device = ? ORDER BY id"
        return [_deployment(*row) for row in self.connection.execute(select, (device_id,))]

    def assign(self, device_id: int, deployment: DeviceDeployment) -> list[str]:
        """Assigns a deployment, in the caller's transaction. The names of those that it supersedes."""
        before = self.deployments_in_force(device_id)
        after = {each.name for each in in_force([*before, deployment])}
        definitions = json.dumps([asdict(definition) for definition in deployment.definitions])
        self.connection.execute(
            "INSERT INTO deployments (device, name, policy, definitions, created) VALUES (?, ?, ?, ?, ?)",
            (device_id, deployment.name, deployment.policy, definitions, deployment.created),
        )
        superseded = [each.name for each in before if each.name not in after]
        update = "UPDATE deployments SET in_force = 0 WHERE device = ? AND name = ?"
        self.connection.executemany(update, [(device_id, each) for each in superseded])
        return superseded

    def withdraw(self, device_id: int, name: str) -> list[str]:
        """Deletes a deployment that was not fetched, in the caller's transaction. The names of those in force then."""
        self.connection.execute("DELETE FROM deployments WHERE device = ? AND name = ?", (device_id, name))
        names = [each.name for each in in_force(self.history(device_id))]
        update = "UPDATE deployments SET in_force = 1 WHERE device = ? AND name = ?"
        self.connection.executemany(update, [(device_id, each) for each in names])
        return names

    def record_heartbeat(self, device_id: int, values: LatestValues, now: float) -> None:
        """One accepted SendHeartbeat, in one transaction; once this returns, kill -9 cannot undo it."""
        with self.transaction():
            if not values.only_liveness:
                self.connection.execute(RECORD_CALL, (device_id, values.agent_version, now))
            if values.liveness is not None:
                self.connection.execute(RECORD_LIVENESS, {"device": device_id} | asdict(values.liveness))
            self.connection.executemany(
                RECORD_METRIC,
                [
                    (device_id, key.model, key.version, key.dimension, key.name, sample.value, sample.at)
                    for key, sample in values.metrics.items()
                ],
            )
            self.connection.executemany(
                RECORD_MODEL,
                [(device_id, *model, times.sample, times.inference) for model, times in values.models.items()],
            )
            if values.result is not None:
                self.connection.execute(RECORD_RESULT, (device_id, values.deployment, values.result, now))


def _deployment(name: str, policy: str, definitions: str, created: float) -> DeviceDeployment:
    return DeviceDeployment(name, policy, tuple(ModelDefinition(**each) for each in json.loads(definitions)), created)


RECORD_CALL = """
INSERT INTO heartbeats (device, agent_version, accepted, newest) VALUES (?, ?, 1, ?)
ON CONFLICT DO UPDATE SET agent_version = excluded.agent_version, accepted = accepted + 1, newest = excluded.newest
"""
# The seconds that were announced last hold where none are. The count shows whether a heartbeat came later.
RECORD_LIVENESS = """
INSERT INTO liveness (device, state, seconds, at, heartbeats)
VALUES (:device, :state, :seconds, :at, coalesce((SELECT accepted FROM heartbeats WHERE device = :device), 0))
ON CONFLICT DO UPDATE SET
    state = excluded.state,
    seconds = coalesce(excluded.seconds, seconds),
    at = excluded.at,
    heartbeats = excluded.heartbeats
WHERE excluded.at >= at
"""
# A sample that is older than the stored one comes from a backlog: it does not replace the newest.
RECORD_METRIC = """
INSERT INTO metrics (device, model, version, dimension, name, value, at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at WHERE excluded.at >= at
"""
# In SQLite max(x, NULL) is NULL.
RECORD_MODEL = """
INSERT INTO models (device, name, version, sample, inference) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    sample = coalesce(max(sample, excluded.sample), sample, excluded.sample),
    inference = coalesce(max(inference, excluded.inference), inference, excluded.inference)
"""
# A device repeats its result until it is acknowledged: an equal one changes the count only.
RECORD_RESULT = """
INSERT INTO results (device, deployment, result, received, told) VALUES (?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET
    told = told + 1,
    received = iif(result = excluded.result, received, excluded.received),
    result = excluded.result
"""
