"""A group of SendHeartbeat calls -> what is written of it. No I/O, no clock.

Calls of one device count in the order in which they came. Whatever a call changes is decided here; `heartbeats` writes
it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto

from gateway.manager.api import DeviceRecord, LatestValues, MetricKey, ModelTimes, Sample

STATE = "state"
RESULT = "result"
PLAN = "plan"
LIMIT = "limit"
"""Kinds of entries in a device's log."""


class PlanChange(StrEnum):
    """What happened to a deployment of a device."""

    ASSIGNED = auto()
    FETCHED = auto()
    SUPERSEDED = auto()
    WITHDRAWN = auto()
    HELD = auto()
    """Its rollout was paused before the device fetched it."""


@dataclass(frozen=True, slots=True)
class HeartbeatCall:
    """One checked SendHeartbeat that came at `now` (Unix seconds)."""

    fleet: str
    device: str
    values: LatestValues
    now: float


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """A device as the database has it. `judged`: the state that is stored for it; `reported`: see `store.reported`.

    `version`: of its registration and its deployments; equal where both are the same.
    """

    id: int
    fleet: int
    version: str
    judged: str
    state: DeviceRecord
    reported: bytes | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """`detail`: JSON with sorted keys."""

    device: int
    at: float
    kind: str
    detail: str


@dataclass(slots=True)
class ReportedResult:
    """The newest DeploymentResult of a device and deployment in the group. `told`: how often it was reported.

    `status` None: one that the service does not know, or the stored one is newer.
    """

    result: str
    status: str | None
    received: float
    told: int


@dataclass(slots=True)
class Changes:
    """What a group changes. `metrics`, `models`: by device, the newest ones of the group; `samples`: of each heartbeat
    that has some, in order; `now`: of the newest."""

    now: float
    devices: dict[int, StoredDevice] = field(default_factory=dict)
    metrics: dict[int, dict[MetricKey, Sample]] = field(default_factory=dict)
    models: dict[int, dict[tuple[str, str], ModelTimes]] = field(default_factory=dict)
    results: dict[tuple[int, str], ReportedResult] = field(default_factory=dict)
    samples: list[tuple[int, Sequence[tuple[MetricKey, float, float]]]] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    moved: dict[tuple[int, str], int] = field(default_factory=dict)
    """(fleet, state) -> by how many devices it grew."""
    models_moved: dict[tuple[int, str, str], int] = field(default_factory=dict)
    """(fleet, model, version) -> by how many devices that have it as the newest."""

    def move_model(self, fleet: int, model: tuple[str, str], by: int) -> None:
        if by:
            self.models_moved[fleet, *model] = self.models_moved.get((fleet, *model), 0) + by


def decide(heartbeats: Sequence[HeartbeatCall], known: Mapping[tuple[str, str], StoredDevice]) -> Changes:
    """`known`: by names of fleet and device, those that are registered; calls of others change nothing."""
    changes = Changes(heartbeats[-1].now)
    for heartbeat in heartbeats:
        device = known.get((heartbeat.fleet, heartbeat.device))
        if device is not None:
            _add(changes, changes.devices.get(device.id, device), heartbeat.values, heartbeat.now)
    return changes


def _add(changes: Changes, device: StoredDevice, values: LatestValues, now: float) -> None:
    state = device.state.after(values, now)
    judged = state.liveness(now).state
    if judged != device.judged:
        changes.log.append(state_entry(device.id, now, device.judged, judged))
        for name, by in ((device.judged, -1), (judged, 1)):
            changes.moved[device.fleet, name] = changes.moved.get((device.fleet, name), 0) + by
    changes.devices[device.id] = StoredDevice(device.id, device.fleet, device.version, judged, state, device.reported)
    if values.metrics:
        metrics = changes.metrics.setdefault(device.id, {})
        for key, sample in values.metrics.items():
            before = metrics.get(key)
            if before is None or sample.at >= before.at:
                metrics[key] = sample
    if values.samples:
        changes.samples.append((device.id, values.samples))
    if values.models:
        models = changes.models.setdefault(device.id, {})
        for model, times in values.models.items():
            known = models.get(model)
            models[model] = times if known is None else known.later(times)
    if values.result is not None and values.deployment is not None:
        _add_result(changes, device.id, values.deployment, values.result, values.status, now)


def _add_result(changes: Changes, device: int, deployment: str, result: str, status: str | None, now: float) -> None:
    """A device repeats its result until it is acknowledged: an equal one changes the count only."""
    known = changes.results.get((device, deployment))
    if known is None:
        changes.results[device, deployment] = ReportedResult(result, status, now, 1)
        return
    known.told += 1
    if known.result != result and not is_older(result, now, known.result, known.received):
        known.result, known.status, known.received = result, status, now


def is_older(result: str, received: float, than: str, than_received: float) -> bool:
    """Whether a result that came later ended before the other one: it waited on its way, and does not replace it.

    Not where one has no DeploymentEndTime. One in the future, of a clock that is ahead, counts as when it came.
    """
    ends = [json.loads(each).get("DeploymentEndTime") for each in (result, than)]
    if None in ends:
        return False
    return min(float(ends[0]), received) < min(float(ends[1]), than_received)


def state_entry(device: int, at: float, before: str, after: str) -> LogEntry:
    """The log's entry for a change of a device's state."""
    return LogEntry(device, at, STATE, json.dumps({"after": after, "before": before}))


def plan_entry(device: int, at: float, change: PlanChange, deployment: str) -> LogEntry:
    """The log's entry for a change of a device's plan."""
    return LogEntry(device, at, PLAN, json.dumps({"change": change, "deployment": deployment}))
