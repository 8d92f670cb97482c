"""The forms of the reports, as the commands' `--json` has them; times are Unix seconds. No I/O, no clock."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from gateway.manager.api import DeviceDeployment, ModelDefinition
from gateway.manager.rollouts import OPEN, PENDING, REPLACED, Rollout, RolloutDeviceState, gate_of

NO_VERSIONS: Mapping[str, str] = MappingProxyType({})


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
    """One registered device. `accepted`: how many heartbeats; `newest`, `agent_version`: None before the first.

    `not_reached`: the deployments for which it counts as not reached; `labels`: its tags.
    """

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
    not_reached: list[str]
    results: list[ResultReport]
    labels: dict[str, str]


class DeviceEntry(TypedDict):
    """A registered device."""

    fleet: str
    device: str
    registered: float


class DeviceDeployments(TypedDict):
    """The deployments in force of a device: the API's EdgeDeployments, as `deployment_report` has them."""

    fleet: str
    device: str
    deployments: list[dict[str, object]]


class ModelCount(TypedDict):
    """How many devices of a fleet run a version: the one of that model with the latest times."""

    name: str
    version: str
    devices: int


class FleetReport(TypedDict):
    """A fleet's devices: how many, by their states as `serve` last judged them, and by the models that they run.

    `failing`: those that have a deployment which failed there.
    """

    fleet: str
    devices: int
    states: dict[str, int]
    failing: int
    models: list[ModelCount]


class BucketReport(TypedDict):
    """A metric over a part of the time: from `start` on; how many samples, and what they are.

    `mean`: None where samples are too large to be added.
    """

    start: float
    count: int
    min: float
    mean: float | None
    max: float


class LogReport(TypedDict):
    """An entry of a device's log. `kind`: state, plan, result or limit; `detail`: what it says, by kind."""

    at: float
    kind: str
    detail: dict[str, Any]


class StageReport(TypedDict):
    """`share` in percent; `devices`: how many have it at the stage's end; `wait` in seconds."""

    share: float
    devices: int
    min_success: float
    wait: float


class GateReport(TypedDict):
    """What the stage waits for: the members of `rollouts.Gate`; `remaining` in seconds."""

    devices: int
    required: int
    pending: int
    silent: int
    remaining: float


class RolloutReport(TypedDict):
    """One deployment of a fleet. `stage` counts from 1; `devices`: how many in all; shares in percent.

    `plan`: the deployment plan of the API whose stage it carries out. `pending`: they have it and reported no result;
    `not_reached`: those of them that are silent, `silent_after` in seconds; `waiting`: their stage has not started; the
    rest as `rollouts.RolloutDeviceState`. `gate`: None once the rollout has ended.
    """

    fleet: str
    deployment: str
    state: str
    reason: str
    undoes: str | None
    plan: str | None
    created: float
    stage: int
    stages: list[StageReport]
    gate: GateReport | None
    stop_at: float | None
    stop_min: int
    devices: int
    succeeded: int
    failed: int
    pending: int
    waiting: int
    superseded: int
    withdrawn: int
    silent_after: float | None
    max_silent: float | None
    not_reached: int
    definitions: list[dict[str, object]]


class DeploymentDevice(TypedDict):
    """A device of a rollout. `state`: one of `DEPLOYMENT_DEVICE_STATES`; `fetched`: it has asked for the deployment.

    `status`, `message`, `received`: its newest result of it; None: it reported none.
    """

    device: str
    state: str
    fetched: bool
    status: str | None
    message: str | None
    received: float | None


DEPLOYMENT_DEVICE_STATES: Mapping[str, tuple[RolloutDeviceState, ...]] = MappingProxyType(
    {
        "failed": (RolloutDeviceState.FAILED,),
        "pending": PENDING,
        "succeeded": (RolloutDeviceState.SUCCEEDED,),
        "waiting": (RolloutDeviceState.WAITING,),
        "superseded": REPLACED,
        "withdrawn": (RolloutDeviceState.WITHDRAWN,),
    }
)
"""The counts of a rollout's report, and the states of the devices that each of them counts; in the order of lists."""


def rollout_report(rollout: Rollout, versions: Mapping[str, str] = NO_VERSIONS) -> RolloutReport:
    """`versions`: of the files of packages, by their URLs."""
    progress, rules = rollout.progress, rollout.progress.rules
    return RolloutReport(
        fleet=rollout.fleet,
        deployment=rollout.name,
        state=progress.state,
        reason=rollout.reason,
        undoes=rollout.undoes,
        plan=rollout.plan,
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
        gate=_gate_report(rollout),
        stop_at=None if rules.stop_at is None else float(rules.stop_at * 100),
        stop_min=rules.stop_min,
        devices=progress.total,
        succeeded=progress.count(RolloutDeviceState.SUCCEEDED),
        failed=progress.count(RolloutDeviceState.FAILED),
        pending=progress.count(*PENDING),
        waiting=progress.count(RolloutDeviceState.WAITING),
        superseded=progress.count(*REPLACED),
        withdrawn=progress.count(RolloutDeviceState.WITHDRAWN),
        silent_after=rules.silent_after,
        max_silent=None if rules.silent_after is None else float(rules.max_silent * 100),
        not_reached=progress.not_reached,
        definitions=[definition_report(each, versions) for each in rollout.definitions],
    )


def _gate_report(rollout: Rollout) -> GateReport | None:
    if rollout.progress.state not in OPEN:
        return None
    gate = gate_of(rollout.progress)
    return GateReport(
        devices=gate.devices,
        required=gate.required,
        pending=gate.pending,
        silent=gate.silent,
        remaining=gate.remaining,
    )


def definition_report(definition: ModelDefinition, versions: Mapping[str, str] = NO_VERSIONS) -> dict[str, object]:
    """The API's Definition, with the size of its file, and the version that its package says; None: there is none."""
    version = None if definition.url is None else versions.get(definition.url)
    return definition.to_api() | {"Size": definition.size, "Version": version}


def deployment_report(deployment: DeviceDeployment, versions: Mapping[str, str] = NO_VERSIONS) -> dict[str, object]:
    """The API's EdgeDeployment, with when it was created, and the sizes and versions of its files."""
    definitions = [definition_report(each, versions) for each in deployment.definitions]
    return deployment.to_api() | {"Definitions": definitions, "Created": deployment.created}
