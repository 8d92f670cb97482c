"""What the manager knows of its devices, read from the store for people and programs. It never writes.

The shapes are those of the commands' `--json`; times are Unix seconds.
"""

import json
from typing import TypedDict

from gateway.manager.api.deployments import Definition, Deployment
from gateway.manager.rollouts.decisions import PENDING, DeviceState
from gateway.manager.rollouts.repository import Rollout
from gateway.manager.store.database import Store


class MetricReport(TypedDict):
    """The newest sample of one metric. `model` and `version` are empty for the agent's own metrics."""

    model: str
    version: str
    dimension: str
    name: str
    value: float
    at: float


class ModelReport(TypedDict):
    """A model's latest times; None: never told."""

    name: str
    version: str
    latest_sample: float | None
    latest_inference: float | None


class ResultReport(TypedDict):
    """`result` is the API's DeploymentResult; `told`: how often one came; `received`: when it first came as it is."""

    deployment: str
    result: dict[str, object]
    received: float
    told: int


class DeviceReport(TypedDict):
    """One registered device. `accepted`: how many heartbeats; `newest`, `agent_version`: None before the first."""

    fleet: str
    device: str
    registered: float
    agent_version: str | None
    accepted: int
    newest: float | None
    metrics: list[MetricReport]
    models: list[ModelReport]
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

    `pending`: they have it and told no result; `waiting`: their stage has not come; the rest as `rollout.DeviceState`.
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
    """How far a rollout has come."""
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
                devices=progress.bound(number),
                min_success=float(stage.min_success * 100),
                wait=stage.wait,
            )
            for number, stage in enumerate(rules.stages)
        ],
        stop_at=None if rules.stop_at is None else float(rules.stop_at * 100),
        stop_min=rules.stop_min,
        devices=progress.total,
        succeeded=progress.count(DeviceState.SUCCEEDED),
        failed=progress.count(DeviceState.FAILED),
        pending=progress.count(*PENDING),
        waiting=progress.count(DeviceState.WAITING),
        superseded=progress.count(DeviceState.SUPERSEDED),
        withdrawn=progress.count(DeviceState.WITHDRAWN),
        definitions=[definition_report(each) for each in rollout.definitions],
    )


def definition_report(definition: Definition) -> dict[str, object]:
    """The API's Definition, with the size of its file."""
    return definition.to_api() | {"Size": definition.size}


def status(store: Store, fleet: str | None = None) -> list[DeviceReport]:
    """Every device of that fleet, or of all, as it was at one moment."""
    store.connection.execute("BEGIN")
    try:
        rows = store.connection.execute(
            """SELECT devices.id, fleet, devices.device, registered, agent_version, coalesce(accepted, 0), newest
               FROM devices LEFT JOIN heartbeats ON heartbeats.device = devices.id
               WHERE fleet = :fleet OR :fleet IS NULL ORDER BY fleet, devices.device""",
            {"fleet": fleet},
        ).fetchall()
        return [_report(store, *row) for row in rows]
    finally:
        store.connection.execute("COMMIT")


def _report(
    store: Store,
    number: int,
    fleet: str,
    device: str,
    registered: float,
    agent_version: str | None,
    accepted: int,
    newest: float | None,
) -> DeviceReport:
    return DeviceReport(
        fleet=fleet,
        device=device,
        registered=registered,
        agent_version=agent_version,
        accepted=accepted,
        newest=newest,
        metrics=_metrics(store, number),
        models=_models(store, number),
        deployments=[deployment_report(deployment) for deployment in store.deployments(number)],
        results=_results(store, number),
    )


def deployment_report(deployment: Deployment) -> dict[str, object]:
    """The API's EdgeDeployment, with when it was created and the sizes of its files."""
    definitions = [definition_report(each) for each in deployment.definitions]
    return deployment.to_api() | {"Definitions": definitions, "Created": deployment.created}


def _metrics(store: Store, number: int) -> list[MetricReport]:
    rows = store.connection.execute(
        "SELECT model, version, dimension, name, value, at FROM metrics WHERE device = ?", (number,)
    )
    return [
        MetricReport(model=model, version=version, dimension=dimension, name=name, value=value, at=at)
        for model, version, dimension, name, value, at in rows
    ]


def _models(store: Store, number: int) -> list[ModelReport]:
    rows = store.connection.execute("SELECT name, version, sample, inference FROM models WHERE device = ?", (number,))
    return [
        ModelReport(name=name, version=version, latest_sample=sample, latest_inference=inference)
        for name, version, sample, inference in rows
    ]


def _results(store: Store, number: int) -> list[ResultReport]:
    rows = store.connection.execute(
        "SELECT deployment, result, received, told FROM results WHERE device = ? ORDER BY received", (number,)
    )
    return [
        ResultReport(deployment=deployment, result=json.loads(result), received=received, told=told)
        for deployment, result, received, told in rows
    ]
