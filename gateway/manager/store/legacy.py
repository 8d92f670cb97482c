"""SQLite files of the formats 1 to 3, which earlier versions made -> the tables of the first revision.

In the caller's transaction: it is the whole change, or none. The tables of the old file are renamed, read and dropped.
Ids and numbers stay, and those of what was deleted never come again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.api import Announced, DeviceRecord, ModelTimes, Sample, State, to_us
from gateway.manager.store.legacy_tables import FORMATS
from gateway.manager.store.reported import Reported, pack

FORMAT = len(FORMATS)
"""The newest format that is changed here."""
_TABLES = (
    "devices deployments heartbeats liveness metrics models results rollouts rollout_devices rollout_counts".split()
)
_TRIGGERS = "rollout_device_added rollout_device_gone rollout_device_changed".split()
_INDEXES = "deployments_in_force rollouts_by_name rollout_devices_next".split()
_PART = 5000

_COPIES = (
    # A number, and so a name made of it, never comes twice.
    """INSERT INTO sqlite_sequence (name, seq) SELECT substr(name, 5), seq FROM sqlite_sequence
        WHERE name IN ('old_devices', 'old_deployments', 'old_rollouts')""",
    # A fleet was made when its first device was registered.
    """INSERT INTO fleets (name, created, changed)
        SELECT fleet, min(at), min(at) FROM (
            SELECT fleet, registered AS at FROM old_devices UNION ALL SELECT fleet, created FROM old_rollouts
        ) GROUP BY fleet ORDER BY fleet""",
    # Whoever has deployments gets plan 1, so that the next GetDeployments counts as the one that fetches it.
    """INSERT INTO devices (id, fleet, name, registered, plan)
        SELECT old_devices.id, fleets.id, device, registered,
            EXISTS (SELECT 1 FROM old_deployments WHERE old_deployments.device = old_devices.id)
        FROM old_devices JOIN fleets ON fleets.name = old_devices.fleet ORDER BY old_devices.id""",
    """INSERT INTO deployments (id, device, name, policy, definitions, created, in_force)
        SELECT id, device, name, policy, definitions, created, in_force FROM old_deployments ORDER BY id""",
    """INSERT INTO metric_names (model, version, dimension, name)
        SELECT DISTINCT model, version, dimension, name FROM old_metrics ORDER BY model, version, dimension, name""",
    """INSERT INTO device_metrics (device, metric)
        SELECT device, metric_names.id FROM old_metrics CROSS JOIN metric_names
            USING (model, version, dimension, name)""",
    """INSERT INTO device_models (device, name, version, newest)
        SELECT device, name, version, row_number() OVER (
            PARTITION BY device, name ORDER BY coalesce(sample, inference, 0) DESC, version DESC
        ) = 1 FROM old_models""",
    """INSERT INTO fleet_models (fleet, name, version, devices)
        SELECT devices.fleet, device_models.name, version, count(*)
        FROM device_models JOIN devices ON devices.id = device WHERE newest
        GROUP BY devices.fleet, device_models.name, version""",
    """INSERT INTO results (device, deployment, result, received, told)
        SELECT device, deployment, result, received, told FROM old_results""",
    # A stage that waits for time waits anew: nobody knows how often the clock was set.
    """INSERT INTO rollouts
            (id, fleet, name, policy, definitions, created, rules, undoes, state, reason, stage, counted)
        SELECT old_rollouts.id, fleets.id, old_rollouts.name, policy, definitions, old_rollouts.created, rules, undoes,
            state, reason, stage, since
        FROM old_rollouts JOIN fleets ON fleets.name = old_rollouts.fleet ORDER BY old_rollouts.id""",
    """INSERT INTO rollout_devices (device, rollout, place, state)
        SELECT device, rollout, place, state FROM old_rollout_devices""",
    """INSERT INTO rollout_counts (rollout, state, devices)
        SELECT rollout, state, devices FROM old_rollout_counts""",
)
_STATES = """SELECT devices.id, devices.fleet, agent_version, coalesce(accepted, 0), newest,
        old_liveness.state, seconds, at, old_liveness.heartbeats
    FROM devices LEFT JOIN old_heartbeats ON old_heartbeats.device = devices.id
        LEFT JOIN old_liveness ON old_liveness.device = devices.id
    ORDER BY devices.id"""
_INSERT_STATE = """INSERT INTO device_states
        (device, fleet, state, due, agent_version, accepted, newest, announced, seconds, announced_at, heartbeats,
        reported)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_METRICS = """SELECT device, metric_names.id, value, at FROM old_metrics CROSS JOIN metric_names
    USING (model, version, dimension, name) WHERE device BETWEEN ? AND ?"""
_MODELS = "SELECT device, name, version, sample, inference FROM old_models WHERE device BETWEEN ? AND ?"
_COUNT_STATES = """INSERT INTO fleet_states (fleet, state, devices)
    SELECT fleet, state, count(*) FROM device_states GROUP BY fleet, state"""


def change(connection: sa.Connection, version: int, make_tables: Callable[[sa.Connection], None], now: float) -> None:
    """`version`: the file's, 1 to 3. `make_tables` makes those of the first revision.

    The states of the devices are judged at `now` (Unix seconds).
    """
    run = connection.exec_driver_sql
    for statement in (statement for statements in FORMATS[version:] for statement in statements):
        run(statement)
    for kind, names in (("TRIGGER", _TRIGGERS), ("INDEX", _INDEXES)):
        for name in names:
            run(f"DROP {kind} {name}")
    for table in _TABLES:
        run(f"ALTER TABLE {table} RENAME TO old_{table}")
    make_tables(connection)
    for statement in _COPIES:
        run(statement)
    for rows in run(_STATES).partitions(_PART):
        run(_INSERT_STATE, list(_states(rows, _reported(connection, rows[0][0], rows[-1][0]), now)))
    run(_COUNT_STATES)
    for table in reversed(_TABLES):
        run(f"DROP TABLE old_{table}")


def _reported(connection: sa.Connection, first: int, last: int) -> dict[int, bytes]:
    """Of the devices with these numbers."""
    found: defaultdict[int, Reported] = defaultdict(lambda: Reported({}, {}))
    for device, metric, value, at in connection.exec_driver_sql(_METRICS, (first, last)):
        found[device].metrics[metric] = Sample(value, at)
    for device, name, version, sample, inference in connection.exec_driver_sql(_MODELS, (first, last)):
        found[device].models[name, version] = ModelTimes(sample, inference)
    return {device: pack(each) for device, each in found.items()}


def _states(rows: Sequence[Any], reported: Mapping[int, bytes], now: float) -> Iterator[tuple[object, ...]]:
    for device, fleet, version, accepted, newest, state, seconds, at, heartbeats in rows:
        said = None if state is None else Announced(State(state), seconds, at)
        known = DeviceRecord(version, accepted, newest, said, heartbeats or 0)
        yield (
            *(device, fleet, known.liveness(now).state, _us(known.due), version, accepted, _us(newest)),
            *(state, _us(seconds), _us(at), known.heartbeats, reported.get(device)),
        )


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else to_us(seconds)
