"""Writes a group of SendHeartbeat calls in the caller's transaction. `recording` decides what.

The rows of the group's devices are locked first, in the order of their numbers: two processes never write the same
device at once, and never wait for each other in a circle.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import structlog

from gateway.manager.api import Announced, DeviceRecord, MetricKey, State, to_us
from gateway.manager.history import pack_samples
from gateway.manager.store import bulk, limits, tables
from gateway.manager.store.names import MetricNames
from gateway.manager.store.recording import (
    LIMIT,
    RESULT,
    Changes,
    HeartbeatCall,
    LogEntry,
    StoredDevice,
    decide,
    is_older,
)

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

STATE_COLUMNS = "device_states.state, agent_version, accepted, newest, announced, seconds, announced_at, heartbeats"
_WRITTEN = (
    *("device", "fleet", "state", "due", "agent_version", "accepted"),
    *("newest", "announced", "seconds", "announced_at", "heartbeats"),
)
_SET_STATE = "(device) DO UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in _WRITTEN[2:])
# A sample that is older than the stored one comes from a backlog: it does not replace the newest.
_SET_LATEST = "(device, metric) DO UPDATE SET value = excluded.value, at = excluded.at WHERE excluded.at >= latest.at"
_SET_MODEL = """(device, name, version) DO UPDATE SET
    sample = CASE WHEN excluded.sample >= models.sample THEN excluded.sample
        ELSE coalesce(models.sample, excluded.sample) END,
    inference = CASE WHEN excluded.inference >= models.inference THEN excluded.inference
        ELSE coalesce(models.inference, excluded.inference) END"""
_SET_RESULT = """(device, deployment) DO UPDATE SET
    told = results.told + excluded.told,
    received = CASE WHEN results.result = excluded.result THEN results.received ELSE excluded.received END,
    result = excluded.result"""
_ADD_DEVICES = "(fleet, state) DO UPDATE SET devices = fleet_states.devices + excluded.devices"


def read_devices(
    connection: sa.Connection, names: Iterable[tuple[str, str]], *, lock: bool = False
) -> dict[tuple[str, str], StoredDevice]:
    """Names of fleet and device -> what is stored; those that are not registered are left out."""
    source, parameters = bulk.pairs(connection, names)
    rest = (
        f"FROM {source} JOIN fleets ON fleets.name = wanted.fleet"
        " JOIN devices ON devices.fleet = fleets.id AND devices.name = wanted.name"
        " JOIN device_states ON device_states.device = devices.id"
    )
    if lock and connection.dialect.name == "postgresql":
        rest += " ORDER BY devices.id FOR UPDATE OF device_states"
    columns = f"wanted.fleet, wanted.name, devices.id, devices.fleet, {STATE_COLUMNS}"
    return {
        (fleet, name): StoredDevice(device, number, judged, state_from(*row))
        for fleet, name, device, number, judged, *row in bulk.fetch(connection, columns, rest, parameters)
    }


def state_from(
    agent_version: str | None,
    accepted: int,
    newest: int | None,
    announced: int | None,
    seconds: int | None,
    announced_at: int | None,
    heartbeats: int,
) -> DeviceRecord:
    """The columns of `device_states` in their order, times in microseconds."""
    said = None
    if announced is not None and announced_at is not None:
        said = Announced(State(announced), None if seconds is None else seconds / 1e6, announced_at / 1e6)
    return DeviceRecord(agent_version, accepted, None if newest is None else newest / 1e6, said, heartbeats)


def record(
    connection: sa.Connection, heartbeats: Sequence[HeartbeatCall], names: MetricNames, deletions: limits.Deletions
) -> tuple[Changes, dict[tuple[str, str], StoredDevice]]:
    """Writes the group. What it changed, and the devices before it, by their names."""
    wanted = {(each.fleet, each.device): None for each in heartbeats}
    known = read_devices(connection, wanted, lock=True)
    changes = decide(heartbeats, known)
    if changes.devices:
        _write(connection, changes, names)
        limited = _apply_limits(connection, changes, deletions)
        add_log(connection, [*changes.log, *limited])
        logged = {each.device for each in changes.log}
        if logged:
            limits.apply(connection, limits.LOG_LIMIT, logged)
        add_devices(connection, changes.moved)
        _tell(limited, known)
    return changes, known


def _write(connection: sa.Connection, changes: Changes, names: MetricNames) -> None:
    bulk.insert(
        connection,
        tables.DEVICE_STATES,
        _WRITTEN,
        [_state_row(each) for each in changes.devices.values()],
        _SET_STATE,
    )
    metrics = names.numbers(connection, {key for _, key in changes.latest})
    bulk.insert(
        connection,
        tables.LATEST,
        ("device", "metric", "value", "at"),
        [(device, metrics[key], each.value, each.at) for (device, key), each in changes.latest.items()],
        _SET_LATEST,
    )
    bulk.insert(
        connection,
        tables.RECENT_SAMPLES,
        ("device", "samples"),
        [(device, _packed(samples, metrics)) for device, samples in changes.samples],
    )
    if changes.models:
        bulk.insert(
            connection,
            tables.MODELS,
            ("device", "name", "version", "sample", "inference"),
            [(*key, each.sample, each.inference) for key, each in changes.models.items()],
            _SET_MODEL,
        )
    if changes.results:
        changes.log += _write_results(connection, changes)


def _apply_limits(connection: sa.Connection, changes: Changes, deletions: limits.Deletions) -> list[LogEntry]:
    """The log's entries of the devices of which something was deleted, where they are due."""
    devices = {"latest": {device for device, _ in changes.latest}, "models": {device for device, *_ in changes.models}}
    devices["results"] = {device for device, _ in changes.results}
    entries = []
    for limit in limits.LIMITS:
        deleted = limits.apply(connection, limit, devices[limit.table]) if devices[limit.table] else {}
        for device, rows in deleted.items():
            told = deletions.add(device, limit, rows, changes.now)
            if told:
                detail = json.dumps({"deleted": told, "kept": limit.most, "what": limit.what})
                entries.append(LogEntry(device, changes.now, LIMIT, detail))
    return entries


def _tell(entries: Sequence[LogEntry], known: Mapping[tuple[str, str], StoredDevice]) -> None:
    """The operator, who does not read each device's log."""
    if entries:
        names = {device.id: name for name, device in known.items()}
        for each in entries:
            fleet, device = names[each.device]
            event = "a device reports more names than are kept of one: the oldest are deleted; see what it sends"
            LOG.warning(event, fleet=fleet, device=device, **json.loads(each.detail))


def _packed(samples: Iterable[tuple[MetricKey, float, float]], metrics: Mapping[MetricKey, int]) -> bytes:
    return pack_samples([(metrics[key], to_us(at), value) for key, at, value in samples])


def _state_row(device: StoredDevice) -> tuple[Any, ...]:
    state, said = device.state, device.state.announced
    announced = (None, None, None) if said is None else (int(said.state), _us(said.seconds), _us(said.at))
    return (
        *(device.id, device.fleet, device.judged, _us(state.due), state.agent_version, state.accepted),
        *(_us(state.newest), *announced, state.heartbeats),
    )


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else to_us(seconds)


def _write_results(connection: sa.Connection, changes: Changes) -> list[LogEntry]:
    """The log's entries for those that differ from what was stored."""
    table = tables.RESULTS
    before = {
        (device, deployment): (result, received)
        for device, deployment, result, received in connection.execute(
            sa.select(table.c.device, table.c.deployment, table.c.result, table.c.received).where(
                table.c.device.in_({device for device, _ in changes.results})
            )
        )
    }
    for key, each in changes.results.items():
        kept = before.get(key)
        if kept is not None and each.result != kept[0] and is_older(each.result, each.received, *kept):
            (each.result, each.received), each.status = kept, None
    rows = [(*key, each.result, each.received, each.told) for key, each in changes.results.items()]
    bulk.insert(connection, table, ("device", "deployment", "result", "received", "told"), rows, _SET_RESULT)
    return [
        LogEntry(key[0], each.received, RESULT, each.result)
        for key, each in changes.results.items()
        if before.get(key, (None,))[0] != each.result
    ]


def add_log(connection: sa.Connection, entries: Sequence[LogEntry]) -> None:
    """Appends to the devices' logs."""
    rows = [(each.device, each.at, each.kind, each.detail) for each in entries]
    bulk.insert(connection, tables.DEVICE_LOG, ("device", "at", "kind", "detail"), rows)


def add_devices(connection: sa.Connection, moved: Mapping[tuple[int, str], int]) -> None:
    """Changes the counts of devices by fleet and state; in one order, so that nobody waits in a circle."""
    rows = [(*key, by) for key, by in sorted(moved.items()) if by]
    bulk.insert(connection, tables.FLEET_STATES, ("fleet", "state", "devices"), rows, _ADD_DEVICES)
