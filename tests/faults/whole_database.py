"""What must hold of each table of the manager's database, and of the model files, whenever a process is killed."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.manager.history import DAY, unpack_samples
from gateway.manager.rollouts import HALTED, OPEN, RolloutDeviceState
from gateway.manager.store import Transaction, reported
from gateway.manager.store.control_tables import (
    AUDIT,
    COMPILATION_JOBS,
    PACKAGES,
    PLAN_STAGES,
    PLANS,
    TAGS,
    device_resource,
)
from gateway.manager.store.tables import (
    DEPLOYMENTS,
    DEREGISTERED,
    DEVICE_METRICS,
    DEVICE_MODELS,
    DEVICE_STATES,
    DEVICES,
    FLEET_HOURS,
    FLEET_MODELS,
    FLEET_STATES,
    FLEETS,
    HISTORY_DAYS,
    METRIC_NAMES,
    OBJECT_PIECES,
    OBJECTS,
    RECENT_SAMPLES,
    ROLLOUT_COUNTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    SAMPLE_CHUNKS,
    TASKS,
)

PUBLISHED = ROLLOUTS.c.state != "preparing"
NOT_GIVEN = ("waiting", "withdrawn")
TASK_NAMES = {"alerts", "compaction", "history", "jobs", "touch"}


def check(transaction: Transaction) -> None:
    """Raises AssertionError."""
    connection = transaction.connection
    if connection.dialect.name == "sqlite":  # PostgreSQL lets none be broken
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
    for each in CHECKS.values():
        if each is not None:
            each(connection)


def check_swept(transaction: Transaction) -> None:
    """Raises AssertionError where something is left that was given up, or is of devices that are gone."""
    connection = transaction.connection
    registered = sa.select(DEVICES.c.id)
    for what, select in {
        "rollouts half made": sa.select(ROLLOUTS.c.id).where(~PUBLISHED),
        "pieces without a file": sa.select(OBJECT_PIECES.c.object).where(
            OBJECT_PIECES.c.object.not_in(sa.select(OBJECTS.c.id))
        ),
        "uploads": sa.select(OBJECTS.c.key).where(OBJECTS.c.bucket == ".uploads"),
        "samples that were not compacted": sa.select(RECENT_SAMPLES.c.id),
        "samples": sa.select(SAMPLE_CHUNKS.c.device).where(SAMPLE_CHUNKS.c.device.not_in(registered)),
        "deregistered": sa.select(DEREGISTERED.c.device),
    }.items():
        _none(connection, what, select)


def check_files(folder: Path, expected: Mapping[str, Iterable[bytes]]) -> None:
    """Each file of a bucket is whole: one of those that were put under its name (BUCKET/KEY)."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            assert path.read_bytes() in set(expected.get(name, ())), name


def same(what: str, found: Any, expected: Any) -> None:
    assert found == expected, f"{what}: {found}, and not {expected}"


def _rows(connection: sa.Connection, select: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(select)]


def _none(connection: sa.Connection, what: str, select: Any) -> None:
    found = _rows(connection, select)
    assert not found, f"{what}: {found}"


def _counts(connection: sa.Connection, counted: sa.Table, rows: sa.Select[Any]) -> None:
    """`rows`: the key for each row that `counted` counts."""
    kept = {row[:-1]: row[-1] for row in _rows(connection, sa.select(counted)) if row[-1]}
    same(counted.name, kept, Counter(_rows(connection, rows)))


def _of_fleet(connection: sa.Connection, table: sa.Table) -> None:
    _none(connection, table.name, sa.select(table).where(table.c.fleet.not_in(sa.select(FLEETS.c.id))))


def _devices(connection: sa.Connection) -> None:
    has_state = sa.exists().where(DEVICE_STATES.c.device == DEVICES.c.id, DEVICE_STATES.c.fleet == DEVICES.c.fleet)
    _none(connection, "devices without a state", sa.select(DEVICES).where(~has_state))
    _none(connection, "plans", sa.select(DEVICES).where(DEVICES.c.fetched > DEVICES.c.plan))


def _fleet_states(connection: sa.Connection) -> None:
    _of_fleet(connection, FLEET_STATES)
    _counts(connection, FLEET_STATES, sa.select(DEVICE_STATES.c.fleet, DEVICE_STATES.c.state))


def _fleet_models(connection: sa.Connection) -> None:
    _of_fleet(connection, FLEET_MODELS)
    models = sa.select(DEVICES.c.fleet, DEVICE_MODELS.c.name, DEVICE_MODELS.c.version).join_from(DEVICE_MODELS, DEVICES)
    _counts(connection, FLEET_MODELS, models.where(DEVICE_MODELS.c.newest))


def _reported(connection: sa.Connection) -> dict[int, reported.Reported]:
    found = _rows(connection, sa.select(DEVICE_STATES.c.device, DEVICE_STATES.c.reported))
    return {device: reported.unpack(stored) for device, stored in found}


def _device_metrics(connection: sa.Connection) -> None:
    known = {(device, metric) for device, each in _reported(connection).items() for metric in each.metrics}
    same("device_metrics", set(_rows(connection, sa.select(DEVICE_METRICS))), known)


def _device_models(connection: sa.Connection) -> None:
    known = {
        (device, *model, newest)
        for device, each in _reported(connection).items()
        for model, newest in reported.newest_versions(each.models).items()
    }
    same("device_models", set(_rows(connection, sa.select(DEVICE_MODELS))), known)


def _deployments(connection: sa.Connection) -> None:
    """A device has the deployment where its state in the rollout says so, and else not."""
    select = sa.select(ROLLOUT_DEVICES.c.device, ROLLOUTS.c.name, ROLLOUT_DEVICES.c.state)
    joined = select.join_from(ROLLOUT_DEVICES, ROLLOUTS).where(PUBLISHED)
    states = {(device, name): state for device, name, state in _rows(connection, joined)}
    columns = DEPLOYMENTS.c.device, DEPLOYMENTS.c.name, DEPLOYMENTS.c.in_force
    found = {(device, name): in_force for device, name, in_force in _rows(connection, sa.select(*columns))}
    never = {key for key in found if states.get(key, "waiting") in NOT_GIVEN}
    assert not never, f"deployments that no rollout gave: {never}"
    missing = {key for key, state in states.items() if state not in (*NOT_GIVEN, "skipped") and key not in found}
    assert not missing, f"no deployment: {missing}"
    for key, in_force in found.items():
        wrong = ("superseded", "skipped") if in_force else ("given", "fetched")
        assert states[key] not in wrong, f"{key} is {states[key]}, in force: {in_force}"


def _rollouts(connection: sa.Connection) -> None:
    named = sa.select(PLAN_STAGES.c.rollout).where(PLAN_STAGES.c.rollout.is_not(None))
    lost = ROLLOUTS.c.plan.is_not(None) & ROLLOUTS.c.state.in_(OPEN) & ROLLOUTS.c.id.not_in(named)
    _none(connection, "rollouts that no stage names", sa.select(ROLLOUTS.c.id).where(lost))
    names = sa.select(ROLLOUTS.c.fleet, ROLLOUTS.c.name).where(PUBLISHED).group_by(ROLLOUTS.c.fleet, ROLLOUTS.c.name)
    _none(connection, "names of two rollouts", names.having(sa.func.count() > 1))


def _rollout_devices(connection: sa.Connection) -> None:
    select = sa.select(ROLLOUT_DEVICES).join_from(ROLLOUT_DEVICES, ROLLOUTS)
    select = select.join(DEVICES, ROLLOUT_DEVICES.c.device == DEVICES.c.id)
    _none(connection, "devices of another fleet", select.where(ROLLOUTS.c.fleet != DEVICES.c.fleet))
    half_made = ROLLOUTS.c.state == "preparing", ROLLOUT_DEVICES.c.state != RolloutDeviceState.WAITING
    _none(connection, "devices that a rollout reached before it was published", select.where(*half_made))


def _rollout_counts(connection: sa.Connection) -> None:
    _counts(
        connection,
        ROLLOUT_COUNTS,
        sa.select(ROLLOUT_DEVICES.c.rollout, ROLLOUT_DEVICES.c.state).join_from(ROLLOUT_DEVICES, ROLLOUTS),
    )


def _recent_samples(connection: sa.Connection) -> None:
    """The compaction drops those of devices that are gone."""
    blobs = connection.scalars(sa.select(RECENT_SAMPLES.c.samples)).all()
    metrics = {metric for blob in blobs for metric, _, _ in unpack_samples(blob)}
    assert metrics <= set(connection.scalars(sa.select(METRIC_NAMES.c.id)))


def _sample_chunks(connection: sa.Connection) -> None:
    """The device is registered, or its samples are still to be deleted."""
    known = sa.union_all(sa.select(DEVICES.c.id), sa.select(DEREGISTERED.c.device))
    _none(connection, "sample_chunks", sa.select(SAMPLE_CHUNKS.c.device).where(SAMPLE_CHUNKS.c.device.not_in(known)))
    _of_metric(connection, SAMPLE_CHUNKS)


def _of_metric(connection: sa.Connection, table: sa.Table) -> None:
    _none(connection, table.name, sa.select(table).where(table.c.metric.not_in(sa.select(METRIC_NAMES.c.id))))


def _deregistered(connection: sa.Connection) -> None:
    _none(connection, "deregistered", sa.select(DEREGISTERED).where(DEREGISTERED.c.device.in_(sa.select(DEVICES.c.id))))


def _fleet_hours(connection: sa.Connection) -> None:
    _of_fleet(connection, FLEET_HOURS)
    _of_metric(connection, FLEET_HOURS)


def _history_days(connection: sa.Connection) -> None:
    chunks = sa.select(SAMPLE_CHUNKS.c.start, SAMPLE_CHUNKS.c.count, sa.func.length(SAMPLE_CHUNKS.c.samples))
    real: dict[int, list[int]] = {}
    for start, count, size in _rows(connection, chunks):
        day = real.setdefault(start // DAY * DAY, [0, 0, 0])
        for place, by in enumerate((1, count, size)):
            day[place] += by
    kept = {day: numbers for day, *numbers in _rows(connection, sa.select(HISTORY_DAYS)) if any(numbers)}
    same("history_days", kept, real)


def _objects(connection: sa.Connection) -> None:
    """Each file that has a row is whole."""
    for number, key, size, sha1 in _rows(
        connection, sa.select(OBJECTS.c.id, OBJECTS.c.key, OBJECTS.c.size, OBJECTS.c.sha1)
    ):
        pieces = sa.select(OBJECT_PIECES.c.data).where(OBJECT_PIECES.c.object == number).order_by(OBJECT_PIECES.c.piece)
        content = b"".join(connection.scalars(pieces))
        found = len(content), hashlib.sha1(content, usedforsecurity=False).hexdigest()
        same(key, found, (size, sha1))


def _tasks(connection: sa.Connection) -> None:
    assert set(connection.scalars(sa.select(TASKS.c.name))) <= TASK_NAMES


def _resources(connection: sa.Connection) -> set[str]:
    """What tags and the audit call all that an operator made, but for rollouts."""
    kinds = {
        "device-fleet": sa.select(FLEETS.c.name),
        "compilation-job": sa.select(COMPILATION_JOBS.c.name),
        "edge-packaging-job": sa.select(PACKAGES.c.name),
        "edge-deployment": sa.select(PLANS.c.name),
    }
    there = {f"{kind}/{name}" for kind, select in kinds.items() for name in connection.scalars(select)}
    devices = sa.select(FLEETS.c.name, DEVICES.c.name).join_from(DEVICES, FLEETS)
    return there | {device_resource(*names) for names in _rows(connection, devices)}


def _tags(connection: sa.Connection) -> None:
    """What they are of is there."""
    assert set(connection.scalars(sa.select(TAGS.c.resource))) <= _resources(connection)


def _audit(connection: sa.Connection) -> None:
    """It says that all is there which is, and that what is not there is gone: but for plans and rollouts, which a fleet
    takes along, and model files. It holds where everything was made by an operator's calls and commands."""
    select = sa.select(AUDIT.c.resource, AUDIT.c.action, AUDIT.c.after).where(AUDIT.c.resource.not_like("s3://%"))
    rows = _rows(connection, select.order_by(AUDIT.c.id))
    is_there = {resource: after is not None for resource, action, after in rows if not action.endswith("Stage")}
    told = {resource for resource, is_one in is_there.items() if is_one}
    there = _resources(connection)
    named = sa.select(FLEETS.c.name, ROLLOUTS.c.name).join_from(ROLLOUTS, FLEETS)
    rollouts = _rows(connection, named.where(PUBLISHED, ROLLOUTS.c.plan.is_(None)))
    made = there | {f"device-fleet/{fleet}/deployment/{name}" for fleet, name in rollouts}
    assert made <= told, f"not in the audit: {made - told}"
    gone = {each for each in told - made if not each.startswith("edge-deployment/") and "/deployment/" not in each}
    assert not gone, f"in the audit alone: {gone}"


def _packages(connection: sa.Connection) -> None:
    """What a package says of its file is all there, or nothing of it; a job is made of one that was known."""
    columns = PACKAGES.c.name, PACKAGES.c.status, PACKAGES.c.url, PACKAGES.c.size, PACKAGES.c.sha1
    for name, status, *facts in _rows(connection, sa.select(*columns)):
        known = [each is not None for each in facts]
        expected = {"STARTING": [False] * 3, "INPROGRESS": [True, False, False], "COMPLETED": [True] * 3}
        same(f"{name}, which is {status}", known, expected.get(status, known))


def _plan_stages(connection: sa.Connection) -> None:
    """What is carried out has a rollout of its own, and a device is in one stage of a plan at most."""
    columns = PLAN_STAGES.c.plan, PLAN_STAGES.c.name, PLAN_STAGES.c.state, PLAN_STAGES.c.rollout
    stages = _rows(connection, sa.select(*columns))
    for _, name, state, rollout in stages:
        assert (state == "INPROGRESS") == (rollout is not None), name
    rollouts = [rollout for *_, rollout in stages if rollout is not None]
    assert len(rollouts) == len(set(rollouts))
    _none(
        connection,
        "stages of rollouts that were not published, or of another plan",
        sa.select(PLAN_STAGES.c.name)
        .join_from(PLAN_STAGES, ROLLOUTS)
        .join(PLANS, PLANS.c.id == PLAN_STAGES.c.plan)
        .where(~PUBLISHED | (ROLLOUTS.c.plan != PLANS.c.name) | (ROLLOUTS.c.fleet != PLANS.c.fleet)),
    )
    never = (ROLLOUT_DEVICES.c.state == "waiting") & ROLLOUTS.c.state.in_(HALTED)
    held = (
        sa.select(PLAN_STAGES.c.plan, ROLLOUT_DEVICES.c.device)
        .join_from(PLAN_STAGES, ROLLOUTS)
        .join(ROLLOUT_DEVICES, ROLLOUT_DEVICES.c.rollout == ROLLOUTS.c.id)
        .where(ROLLOUT_DEVICES.c.state != "withdrawn", ~never)
        .group_by(PLAN_STAGES.c.plan, ROLLOUT_DEVICES.c.device)
    )
    _none(connection, "devices of two stages", held.having(sa.func.count() > 1))


def _plans(connection: sa.Connection) -> None:
    """The packages that it names are there."""
    packages = set(connection.scalars(sa.select(PACKAGES.c.name)))
    for text in connection.scalars(sa.select(PLANS.c.models)):
        assert {each["EdgePackagingJobName"] for each in json.loads(text)} <= packages


CHECKS: Mapping[str, Callable[[sa.Connection], None] | None] = {
    "devices": _devices,
    "fleet_states": _fleet_states,
    "fleet_models": _fleet_models,
    "device_metrics": _device_metrics,
    "device_models": _device_models,
    "deployments": _deployments,
    "rollouts": _rollouts,
    "rollout_devices": _rollout_devices,
    "rollout_counts": _rollout_counts,
    "recent_samples": _recent_samples,
    "sample_chunks": _sample_chunks,
    "deregistered": _deregistered,
    "fleet_hours": _fleet_hours,
    "history_days": _history_days,
    "objects": _objects,
    "tasks": _tasks,
    "tags": _tags,
    "audit": _audit,
    "packages": _packages,
    "plans": _plans,
    "plan_stages": _plan_stages,
    # What was answered says what these have (`Operator.check`).
    "fleets": None,
    "device_states": None,
    "results": None,
    "device_log": None,
    "compilation_jobs": None,
    # Foreign keys alone, or nothing that refers to another table.
    "metric_names": None,
    "access_keys": None,
    "users": None,
    "sessions": None,
    "alerts": None,
    # What has no row is removed later (`KilledSite.check_swept`).
    "object_pieces": None,
}
