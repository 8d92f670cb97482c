"""Reports of devices and rollouts, read from the database for people and programs. It must never write.

The reports have the form of the commands' `--json`; times are Unix seconds.
"""

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from gateway.manager.api import Announced, DeviceDeployment, ModelDefinition, State, judge
from gateway.manager.rollouts import PENDING, Rollout, RolloutDeviceState
from gateway.manager.store import Database


class MetricReport(TypedDict):
    """The newest sample of one metric. `model` and `version` are empty for the agent's own metrics."""

    model: str
    version: str
    dimension: str
    name: str
    value: float
    at: float


class ModelTimesReport(TypedDict):
    """A model's latest times; None: never reported."""

    name: str
    version: str
    latest_sample: float | None
    latest_inference: float | None


class ResultReport(TypedDict):
    """`result`: the API's DeploymentResult; `told`: how often one was reported; `received`: when this one first was."""

    deployment: str
    result: dict[str, object]
    received: float
    told: int


class LivenessReport(TypedDict):
    """The members of `api.Liveness`."""

    state: str
    since: float | None
    until: float | None
    seconds: float | None


class DeviceReport(TypedDict):
    """One registered device. `accepted`: how many heartbeats; `newest`, `agent_version`: None before the first."""

    fleet: str
    device: str
    registered: float
    agent_version: str | None
    accepted: int
    newest: float | None
    liveness: LivenessReport
    metrics: list[MetricReport]
    models: list[ModelTimesReport]
    deployments: list[dict[str, object]]
    results: list[ResultReport]


class StageReport(TypedDict):
    """`share` in percent; `devices`: how many have it at the stage's end; `wait` in seconds."""

    share: float
    devices: int
    min_success: float
    wait: float


class RolloutReport(TypedDict):
    """One deployment of a fleet. `stage` counts from 1; `devices`: how many in all; shares in percent.

    `pending`: they have it and reported no result; `waiting`: their stage has not started; the rest as
    `rollouts.RolloutDeviceState`.
    """

    fleet: str
    deployment: str
    state: str
    reason: str
    undoes: str | None
    created: float
    stage: int
    stages: list[StageReport]
    stop_at: float | None
    stop_min: int
    devices: int
    succeeded: int
    failed: int
    pending: int
    waiting: int
    superseded: int
    withdrawn: int
    definitions: list[dict[str, object]]


def rollout_report(rollout: Rollout) -> RolloutReport:
    progress, rules = rollout.progress, rollout.progress.rules
    return RolloutReport(
        fleet=rollout.fleet,
        deployment=rollout.name,
        state=progress.state,
        reason=rollout.reason,
        undoes=rollout.undoes,
        created=rollout.created,
        stage=progress.stage + 1,
        stages=[
            StageReport(
                share=float(stage.share * 100),
                devices=progress.stage_size(index),
                min_success=float(stage.min_success * 100),
                wait=stage.wait,
            )
            for index, stage in enumerate(rules.stages)
        ],
        stop_at=None if rules.stop_at is None else float(rules.stop_at * 100),
        stop_min=rules.stop_min,
        devices=progress.total,
        succeeded=progress.count(RolloutDeviceState.SUCCEEDED),
        failed=progress.count(RolloutDeviceState.FAILED),
        pending=progress.count(*PENDING),
        waiting=progress.count(RolloutDeviceState.WAITING),
        superseded=progress.count(RolloutDeviceState.SUPERSEDED),
        withdrawn=progress.count(RolloutDeviceState.WITHDRAWN),
        definitions=[definition_report(each) for each in rollout.definitions],
    )


def definition_report(definition: ModelDefinition) -> dict[str, object]:
    """The API's Definition, with the size of its file."""
    return definition.to_api() | {"Size": definition.size}


def deployment_report(deployment: DeviceDeployment) -> dict[str, object]:
    """The API's EdgeDeployment, with when it was created and the sizes of its files."""
    definitions = [definition_report(each) for each in deployment.definitions]
    return deployment.to_api() | {"Definitions": definitions, "Created": deployment.created}


def device_reports(database: Database, now: float, fleet: str | None = None) -> list[DeviceReport]:
    """Every device of that fleet, or of all, as it was at one moment; `now` is for what follows from silence."""
    database.connection.execute("BEGIN")
    try:
        rows = database.connection.execute(
            """SELECT devices.id, fleet, devices.device, registered, agent_version, coalesce(accepted, 0), newest,
                   state, seconds, at, liveness.heartbeats
               FROM devices LEFT JOIN heartbeats ON heartbeats.device = devices.id
                   LEFT JOIN liveness ON liveness.device = devices.id
               WHERE fleet = :fleet OR :fleet IS NULL ORDER BY fleet, devices.device""",
            {"fleet": fleet},
        ).fetchall()
        return [
            DeviceReport(
                fleet=fleet,
                device=device,
                registered=registered,
                agent_version=agent_version,
                accepted=accepted,
                newest=newest,
                liveness=_liveness(announced, accepted, newest, now),
                metrics=_metrics(database, device_id),
                models=_models(database, device_id),
                deployments=[deployment_report(each) for each in database.deployments_in_force(device_id)],
                results=_results(database, device_id),
            )
            for device_id, fleet, device, registered, agent_version, accepted, newest, *announced in rows
        ]
    finally:
        database.connection.execute("COMMIT")


def _liveness(row: Sequence[Any], accepted: int, newest: float | None, now: float) -> LivenessReport:
    """`row`: each None where nothing was announced.

    Whatever a device or its broker said: a heartbeat that came later means that the device is connected.
    """
    state, seconds, at, heartbeats = row
    if state is not None and accepted > heartbeats:
        state = State.CONNECTED
    found = judge(None if state is None else Announced(State(state), seconds, at), newest, now)
    return LivenessReport(state=found.state, since=found.since, until=found.until, seconds=found.seconds)


def _metrics(database: Database, device_id: int) -> list[MetricReport]:
    select = "SELECT model, version, dimension, name, value, at FROM metrics WHERE device = ?"
    return [
        MetricReport(model=model, version=version, dimension=dimension, name=name, value=value, at=at)
        for model, version, dimension, name, value, at in database.connection.execute(select, (device_id,))
    ]


def _models(database: Database, device_id: int) -> list[ModelTimesReport]:
    select = "SELECT name, version, sample, inference FROM models WHERE device = ?"
    return [
        ModelTimesReport(name=name, version=version, latest_sample=sample, latest_inference=inference)
        for name, version, sample, inference in database.connection.execute(select, (device_id,))
    ]


def _results(database: Database, device_id: int) -> list[ResultReport]:
    select = "SELECT deployment, result, received, told FROM results WHERE device = ? ORDER BY received"
    return [
        ResultReport(deployment=deployment, result=json.loads(result), received=received, told=told)
        for deployment, result, received, told in database.connection.execute(select, (device_id,))
    ]
