"""Edge deployment plans: made, described, listed and deleted. A rollout that a command made is described as one too."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.control import stages, tags
from gateway.manager.control.arns import plan_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.packages import require_file
from gateway.manager.control.paging import contains, decode_token, encode_token, in_times, page, with_token
from gateway.manager.control.plan_rows import (
    COMMANDED,
    DeploymentPlan,
    counters_of_plans,
    counters_of_rollouts,
    devices_by_stage,
    find_plan,
    find_rollout,
    locked_plan,
    no_plan,
    read_stages,
)
from gateway.manager.control.stage_devices import find_last_place, list_stage_devices
from gateway.manager.control.stage_states import ACTIVE, StageView, add_counters, stages_of
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.rollouts import Rollout
from gateway.manager.store.control_tables import PACKAGES, PLANS
from gateway.manager.store.tables import FLEETS, ROLLOUTS

PAGE = 10
"""Stages of a page, where MaxResults says nothing: the most that it may say."""


def create(call: ControlCall, asked: Members) -> Members:
    name = asked["EdgeDeploymentPlanName"]
    exists = ApiError("ResourceInUse", f"Resource Already Exists: {call.arn(plan_resource(name))}")
    if find_plan(call.connection, name) is not None or find_rollout(call, name) is not None:
        raise exists
    fleet = call.transaction.fleet_id(asked["DeviceFleetName"])
    if fleet is None:
        raise validation_error(f"No device fleet with name {asked['DeviceFleetName']}")
    stages.definitions_of(call.connection, asked["ModelConfigs"])
    for model in asked["ModelConfigs"]:
        require_file(call, model["EdgePackagingJobName"])
    models = json.dumps(asked["ModelConfigs"])
    row = {"name": name, "fleet": fleet, "models": models, "created": call.now, "changed": call.now}
    try:
        number: int = call.connection.execute(sa.insert(PLANS).returning(PLANS.c.id), row).scalar_one()
    except sa.exc.IntegrityError:  # by another call at the same moment
        raise exists from None
    plan = DeploymentPlan(number, name, asked["DeviceFleetName"], asked["ModelConfigs"], call.now, call.now)
    stages.add(call, plan, [], asked.get("Stages", []))
    tags.add(call, plan_resource(name), asked.get("Tags", ()))
    call.audit(plan_resource(name), None, {each: asked[each] for each in asked if each != "Tags"})
    return {"EdgeDeploymentPlanArn": call.arn(plan_resource(name))}


def describe(call: ControlCall, asked: Members) -> Members:
    name = asked["EdgeDeploymentPlanName"]
    plan = find_plan(call.connection, name)
    if plan is not None:
        views = [each.view() for each in read_stages(call, plan.id)]
        return _description(call, asked, plan, views)
    rollout = find_rollout(call, name)
    if rollout is None:
        raise no_plan(name)
    shown = DeploymentPlan(0, name, rollout.fleet, _models_of(call, rollout), rollout.created, _changed(rollout))
    return _description(call, asked, shown, stages_of(rollout, devices_by_stage(call.connection, rollout)))


def _changed(rollout: Rollout) -> float:
    return max(rollout.created, rollout.progress.counted)


def _models_of(call: ControlCall, rollout: Rollout) -> list[Members]:
    """Those of its models of which there is a package."""
    select = sa.select(PACKAGES.c.name).where(PACKAGES.c.status == "COMPLETED").order_by(PACKAGES.c.id.desc()).limit(1)
    names = {
        each.handle: call.connection.scalar(select.where(PACKAGES.c.url == each.url))
        for each in rollout.definitions
        if each.url is not None
    }
    return [{"ModelHandle": handle, "EdgePackagingJobName": name} for handle, name in names.items() if name is not None]


def _description(call: ControlCall, asked: Members, plan: DeploymentPlan, views: Sequence[StageView]) -> Members:
    [after] = decode_token(asked["NextToken"], int) if "NextToken" in asked else [0]
    until = max(after, 0) + max(asked.get("MaxResults", PAGE), 1)
    members: dict[str, Any] = {
        "EdgeDeploymentPlanArn": call.arn(plan_resource(plan.name)),
        "EdgeDeploymentPlanName": plan.name,
        "ModelConfigs": plan.models,
        "DeviceFleetName": plan.fleet,
        **add_counters(each.counters for each in views).members(),
        "Stages": [each.members() for each in views[max(after, 0) : until]],
        "CreationTime": plan.created,
        "LastModifiedTime": plan.changed,
    }
    return with_token(members, encode_token(until) if until < len(views) else None)


def list_plans(call: ControlCall, asked: Members) -> Members:
    listed = _listed()
    select = sa.select(listed).where(*in_times(asked, listed.c.created, listed.c.changed))
    for member, column in (("NameContains", listed.c.name), ("DeviceFleetNameContains", listed.c.fleet)):
        if member in asked:
            select = select.where(contains(column, asked[member]))
    columns: Mapping[str, sa.ColumnElement[Any]] = {
        "NAME": listed.c.name,
        "DEVICE_FLEET_NAME": listed.c.fleet,
        "CREATION_TIME": listed.c.created,
        "LAST_MODIFIED_TIME": listed.c.changed,
    }
    rows, token = page(call.connection, select, asked, listed.c.key, columns, "CREATION_TIME")
    plans = counters_of_plans(call, [row[0] // 2 for row in rows if row[0] % 2 == 0])
    rollouts = counters_of_rollouts(call, [row[0] // 2 for row in rows if row[0] % 2])
    summaries = [
        {
            "EdgeDeploymentPlanArn": call.arn(plan_resource(row.name)),
            "EdgeDeploymentPlanName": row.name,
            "DeviceFleetName": row.fleet,
            **(rollouts if row.key % 2 else plans)[row.key // 2].members(),
            "CreationTime": row.created,
            "LastModifiedTime": row.changed,
        }
        for row in rows
    ]
    return with_token({"EdgeDeploymentPlanSummaries": summaries}, token)


def _listed() -> sa.Subquery:
    """Plans with even keys, rollouts of commands with odd ones."""
    plans = sa.select(
        (PLANS.c.id * 2).label("key"), PLANS.c.name, FLEETS.c.name.label("fleet"), PLANS.c.created, PLANS.c.changed
    ).join_from(PLANS, FLEETS)
    counted = sa.case((ROLLOUTS.c.counted > ROLLOUTS.c.created, ROLLOUTS.c.counted), else_=ROLLOUTS.c.created)
    commanded = (
        sa.select(ROLLOUTS.c.id * 2 + 1, ROLLOUTS.c.name, FLEETS.c.name, ROLLOUTS.c.created, counted)
        .join_from(ROLLOUTS, FLEETS)
        .where(COMMANDED)
    )
    return sa.union_all(plans, commanded).subquery("listed")


def delete(call: ControlCall, asked: Members) -> None:
    """Its rollouts stay, and the devices keep what they have."""
    plan = locked_plan(call, asked["EdgeDeploymentPlanName"])
    for stage in read_stages(call, plan.id):
        status, _ = stage.status
        if status in ACTIVE:
            raise ApiError("ResourceInUse", f"stage {stage.name} of {plan.name} is {status}: stop it first, or wait")
    call.connection.execute(sa.delete(PLANS).where(PLANS.c.id == plan.id))
    resource = plan_resource(plan.name)
    tags.delete_all(call, [resource])
    call.audit(resource, {"DeviceFleetName": plan.fleet, "ModelConfigs": plan.models}, None)


OPERATIONS = {
    "CreateEdgeDeploymentPlan": ControlOperation(create, writes=True),
    "DescribeEdgeDeploymentPlan": ControlOperation(describe),
    "ListEdgeDeploymentPlans": ControlOperation(list_plans),
    "DeleteEdgeDeploymentPlan": ControlOperation(delete, writes=True),
    "CreateEdgeDeploymentStage": ControlOperation(stages.create, writes=True),
    "StartEdgeDeploymentStage": ControlOperation(stages.start, writes=True),
    "StopEdgeDeploymentStage": ControlOperation(stages.stop, writes=True),
    "DeleteEdgeDeploymentStage": ControlOperation(stages.delete, writes=True),
    "ListStageDevices": ControlOperation(list_stage_devices, prepare=find_last_place),
}
