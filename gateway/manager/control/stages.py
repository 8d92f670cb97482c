"""Stages of a deployment plan: added, started, stopped and deleted. `starting` carries out what a start asks for."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.api import POLICIES, ModelDefinition
from gateway.manager.control.arns import plan_resource
from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.control.plan_rows import DeploymentPlan, StoredStage, locked_plan, require_stage
from gateway.manager.control.plan_rows import read_stages as read_stages
from gateway.manager.control.selection import check_selection
from gateway.manager.control.stage_states import ACTIVE
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.rollouts import OPEN, RolloutRepository, RolloutState
from gateway.manager.store.control_tables import PACKAGES, PLAN_STAGES, PLANS

MOST = 10
"""Stages of a plan: AWS's limit."""


def definitions_of(connection: sa.Connection, models: Sequence[Members]) -> tuple[ModelDefinition, ...]:
    """What ModelConfigs deploy. Raises ApiError where a packaging job is not there, or not completed."""
    found: dict[str, ModelDefinition] = {}
    for model in models:
        handle, job = model["ModelHandle"], model["EdgePackagingJobName"]
        package = connection.execute(sa.select(PACKAGES).where(PACKAGES.c.name == job)).one_or_none()
        if package is None:
            raise validation_error(f"No edge packaging job with name {job}")
        if package.status != "COMPLETED":
            raise validation_error(f"the edge packaging job {job} is {package.status}, and should be COMPLETED")
        if handle in found:
            raise validation_error(f"the model handle {handle} comes twice: one plan has one file for each handle")
        found[handle] = ModelDefinition(handle, "DEPLOY", package.url, package.sha1, package.size)
    if not found:
        raise validation_error("ModelConfigs is empty: a plan deploys at least one model")
    return tuple(found.values())


def add(call: ControlCall, plan: DeploymentPlan, known: Sequence[StoredStage], asked: Sequence[Members]) -> None:
    """Stages to a plan that has those known."""
    names = [each.name for each in known]
    for stage in asked:
        if stage["StageName"] in names:
            raise validation_error(
                f"the edge deployment plan {plan.name} has a stage named {stage['StageName']} already"
            )
        names.append(stage["StageName"])
        check_selection(stage["StageName"], stage["DeviceSelectionConfig"])
        _check_registered(call, plan, stage["DeviceSelectionConfig"].get("DeviceNames", []))
    if len(names) > MOST:
        raise ApiError("ResourceLimitExceeded", f"an edge deployment plan has at most {MOST} stages")
    first = 1 + max((each.number for each in known), default=0)
    rows = [_row(plan, number, stage) for number, stage in enumerate(asked, first)]
    if rows:
        call.connection.execute(sa.insert(PLAN_STAGES), rows)


def _check_registered(call: ControlCall, plan: DeploymentPlan, names: Sequence[str]) -> None:
    missing = set(names) - call.transaction.device_ids(plan.fleet, names).keys() if names else ()
    if missing:
        raise validation_error(f"No device with name {min(missing)} in the device fleet {plan.fleet}")


def _row(plan: DeploymentPlan, number: int, stage: Members) -> dict[str, Any]:
    policy = stage.get("DeploymentConfig", {}).get("FailureHandlingPolicy", POLICIES[0])
    selection = json.dumps(stage["DeviceSelectionConfig"])
    name = stage["StageName"]
    return {
        "plan": plan.id,
        "number": number,
        "name": name,
        "selection": selection,
        "policy": policy,
        "state": "READYTODEPLOY",
    }


def create(call: ControlCall, asked: Members) -> None:
    plan = locked_plan(call, asked["EdgeDeploymentPlanName"])
    add(call, plan, read_stages(call, plan.id), asked["Stages"])
    _touch(call, plan)
    call.audit(plan_resource(plan.name), None, {"Stages": asked["Stages"]})


def start(call: ControlCall, asked: Members) -> None:
    """The background makes the rollout."""
    plan = locked_plan(call, asked["EdgeDeploymentPlanName"])
    stage, _ = require_stage(call, plan, asked["StageName"])
    status = _require_not_started(stage, validation_error)
    _update(call, plan, stage, status, state="STARTING", message="", started=call.now)


def stop(call: ControlCall, asked: Members) -> None:
    """No further device gets it; those that asked for it keep it."""
    plan = locked_plan(call, asked["EdgeDeploymentPlanName"])
    stage, _ = require_stage(call, plan, asked["StageName"])
    status, _ = stage.status
    if status == "STOPPING":
        return
    if stage.rollout is None and status == "STARTING":
        _update(call, plan, stage, status, state="STOPPING")
        return
    if stage.rollout is not None:
        rollouts = RolloutRepository(call.transaction)
        rollouts.lock(stage.rollout.id, wait=True)
        if rollouts.read(stage.rollout.id).progress.state in OPEN:
            rollouts.update(stage.rollout.id, state=RolloutState.ABORTED)
            _update(call, plan, stage, status)
            return
    raise validation_error(f"stage {stage.name} of {plan.name} is {status}: there is nothing to stop")


def delete(call: ControlCall, asked: Members) -> None:
    plan = locked_plan(call, asked["EdgeDeploymentPlanName"])
    stage, _ = require_stage(call, plan, asked["StageName"])
    _require_not_started(stage, lambda message: ApiError("ResourceInUse", message))
    call.connection.execute(sa.delete(PLAN_STAGES).where(*_is(plan, stage)))
    _touch(call, plan)
    call.audit(plan_resource(plan.name), {"StageName": stage.name, "DeviceSelectionConfig": stage.selection}, None)


def _require_not_started(stage: StoredStage, error: Any) -> str:
    """Its status, where no rollout carries it out, nor will."""
    status, _ = stage.status
    if stage.rollout is not None or status in ACTIVE:
        raise error(f"stage {stage.name} is {status}: it was started already")
    return status


def _is(plan: DeploymentPlan, stage: StoredStage) -> tuple[sa.ColumnElement[bool], ...]:
    return PLAN_STAGES.c.plan == plan.id, PLAN_STAGES.c.number == stage.number


def _update(call: ControlCall, plan: DeploymentPlan, stage: StoredStage, before: str, **values: Any) -> None:
    if values:
        call.connection.execute(sa.update(PLAN_STAGES).where(*_is(plan, stage)).values(values))
    _touch(call, plan)
    after = values.get("state", "STOPPING")
    changes = [{"StageName": stage.name, "StageStatus": status} for status in (before, after)]
    call.audit(plan_resource(plan.name), *changes)


def _touch(call: ControlCall, plan: DeploymentPlan) -> None:
    call.connection.execute(sa.update(PLANS).where(PLANS.c.id == plan.id).values(changed=call.now))
