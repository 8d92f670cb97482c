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
from gateway.manager.store import bulk, limits, reported, tables
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
    *("newest", "announced", "seconds", "announced_at", "heartbeats", "reported"),
)
_SET_STATE = "(device) DO UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in _WRITTEN[2:])
_SET_MODEL = "(device, name, version) DO UPDATE SET newest = excluded.newest"
_SET_RESULT = """(device, deployment) DO UPDATE SET
    told = results.told + excluded.told,
    received = CASE WHEN results.result = excluded.result THEN results.received ELSE excluded.received END,
    result = excluded.result"""
_ADD_MODELS = "(fleet, name, version) DO UPDATE SET devices = fleet_models.devices + excluded.devices"
_ADD_DEVICES = "(fleet, state) DO UPDATE SET devices = fleet_states.devices + excluded.devices"


def read_devices(
    connection: sa.Connection, names: Iterable[tuple[str, str]], *, lock: bool = False
) -> dict[tuple[str, str], StoredDevice]:
    """Names of fleet and device -> what is stored; those that are not registered are left out."""
    source, parameters = bulk.devices(connection, names)
    rest = f"FROM {source} JOIN device_states ON device_states.device = devices.id"
    if lock and connection.dialect.name == "postgresql":
        rest += " ORDER BY devices.id FOR UPDATE OF device_states"
    of_device = "wanted.fleet, wanted.name, devices.id, devices.fleet, devices.registered, devices.plan"
    columns = f"{of_device}, {bulk.binary(connection, 'reported')}, {STATE_COLUMNS}"
    found = bulk.fetch(connection, columns, rest, parameters)
    return {
        (fleet, name): StoredDevice(
            device, number, f"{registered}/{plan}", judged, state_from(*row), bulk.as_bytes(stored or b"")
        )
        for fleet, name, device, number, registered, plan, stored, judged, *row in found
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
        deleted = _write(connection, changes, names)
        limited = _limit_entries(deleted, changes.now, deletions)
        add_log(connection, [*changes.log, *limited])
        logged = {each.device for each in changes.log}
        if logged:
            limits.apply(connection, limits.LOG, logged)
        add_devices(connection, changes.moved)
        add_models(connection, changes.models_moved)
        _warn(limited, known)
    return changes, known


def _write(
    connection: sa.Connection, changes: Changes, names: MetricNames
) -> list[tuple[int, limits.DeviceLimit, int]]:
    """What was deleted since there is too much of a device: device, limit, how much."""
    metrics = names.numbers(connection, {key for each in changes.metrics.values() for key in each})
    deleted: list[tuple[int, limits.DeviceLimit, int]] = []
    states: list[tuple[Any, ...]] = []
    new_metrics: list[tuple[int, int]] = []
    old_metrics: list[tuple[int, int]] = []
    new_models: list[tuple[int, str, str, bool]] = []
    old_models: list[tuple[int, str, str]] = []
    for device in changes.devices.values():
        samples = {metrics[key]: sample for key, sample in changes.metrics.get(device.id, {}).items()}
        times = changes.models.get(device.id, {})
        stored = device.reported
        if samples or times:
            before = reported.unpack(stored)
            after_metrics, beyond = reported.later_metrics(before.metrics, samples, limits.METRICS.most)
            after_models, models_beyond = reported.later_models(before.models, times, limits.MODELS.most)
            stored = reported.pack(reported.Reported(after_metrics, after_models))
            deleted += [(device.id, limits.METRICS, beyond)] if beyond else []
            deleted += [(device.id, limits.MODELS, models_beyond)] if models_beyond else []
            new_metrics += [(device.id, metric) for metric in after_metrics.keys() - before.metrics.keys()]
            old_metrics += [(device.id, metric) for metric in before.metrics.keys() - after_metrics.keys()]
            if len(after_models) > 1 or after_models.keys() != before.models.keys():
                versions, now = reported.newest_versions(before.models), reported.newest_versions(after_models)
                new_models += [(device.id, *model, newest) for model, newest in now.items() - versions.items()]
                old_models += [(device.id, *model) for model in versions.keys() - now.keys()]
                for model in versions.keys() | now.keys():
                    changes.move_model(device.fleet, model, now.get(model, False) - versions.get(model, False))
        states.append(_state_row(device, stored))
    bulk.delete(connection, tables.DEVICE_METRICS, old_metrics)
    bulk.delete(connection, tables.DEVICE_MODELS, old_models)
    model_columns = ("device", "name", "version", "newest")
    packed = [(device, _packed(samples, metrics)) for device, samples in changes.samples]
    bulk.insert_all(
        connection,
        [
            bulk.Insert(tables.DEVICE_STATES, _WRITTEN, states, _SET_STATE),
            bulk.Insert(tables.RECENT_SAMPLES, ("device", "samples"), packed),
            bulk.Insert(tables.DEVICE_METRICS, ("device", "metric"), new_metrics),
            bulk.Insert(tables.DEVICE_MODELS, model_columns, new_models, _SET_MODEL),
        ],
    )
    if changes.results:
        changes.log += _write_results(connection, changes)
        results = limits.apply(connection, limits.RESULTS, {device for device, _ in changes.results})
        deleted += [(device, limits.RESULTS, rows) for device, rows in results.items()]
    return deleted


def _limit_entries(
    deleted: Iterable[tuple[int, limits.DeviceLimit, int]], now: float, deletions: limits.Deletions
) -> list[LogEntry]:
    """The log's entries of the devices of which something was deleted, where they are due."""
    entries = []
    for device, limit, rows in deleted:
        due = deletions.add(device, limit, rows, now)
        if due:
            detail = json.dumps({"deleted": due, "kept": limit.most, "what": limit.what})
            entries.append(LogEntry(device, now, LIMIT, detail))
    return entries


def _warn(entries: Sequence[LogEntry], known: Mapping[tuple[str, str], StoredDevice]) -> None:
    """The operator, who does not read each device's log."""
    if entries:
        names = {device.id: name for name, device in known.items()}
        for each in entries:
            fleet, device = names[each.device]
            event = "a device reports more names than are kept of one: the oldest are deleted; see what it sends"
            LOG.warning(event, fleet=fleet, device=device, **json.loads(each.detail))


def _packed(samples: Iterable[tuple[MetricKey, float, float]], metrics: Mapping[MetricKey, int]) -> bytes:
    return pack_samples([(metrics[key], to_us(at), value) for key, at, value in samples])


def _state_row(device: StoredDevice, stored: bytes | None) -> tuple[Any, ...]:
    state, said = device.state, device.state.announced
    announced = (None, None, None) if said is None else (int(said.state), _us(said.seconds), _us(said.at))
    return (
        *(device.id, device.fleet, device.judged, _us(state.due), state.agent_version, state.accepted),
        *(_us(state.newest), *announced, state.heartbeats, stored),
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


def add_models(connection: sa.Connection, moved: Mapping[tuple[int, str, str], int]) -> None:
    """Changes the counts of devices by fleet and newest model; in one order too. Counts of 0 are not kept."""
    rows = [(*key, by) for key, by in sorted(moved.items()) if by]
    bulk.insert(connection, tables.FLEET_MODELS, ("fleet", "name", "version", "devices"), rows, _ADD_MODELS)
    table = tables.FLEET_MODELS.c
    fewer = [key for *key, by in rows if by < 0]
    if fewer:
        key = sa.tuple_(table.fleet, table.name, table.version)
        given = bulk.given(connection, fewer, fleet=sa.BigInteger, name=sa.Text, version=sa.Text)
        connection.execute(sa.delete(tables.FLEET_MODELS).where(table.devices == 0, key.in_(sa.select(*given.c))))
