"""Device fleets: CreateDeviceFleet and its siblings.

Absence is a ValidationException in the words that Terraform's provider looks for.
"""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.manager.control import tags
from gateway.manager.control.arns import fleet_resource, plan_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.paging import contains, in_times, page, with_token
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.rollouts.decisions import OPEN
from gateway.manager.store.control_tables import PLAN_STAGES, PLANS, deployment_resource
from gateway.manager.store.tables import DEVICES, FLEET_HOURS, FLEET_MODELS, FLEET_STATES, FLEETS, ROLLOUTS

DEFAULT_OUTPUT = {"S3OutputLocation": "s3://models/"}
"""The OutputConfig of a fleet that `manager register` made."""
_SORTED = {"NAME": FLEETS.c.name, "CREATION_TIME": FLEETS.c.created, "LAST_MODIFIED_TIME": FLEETS.c.changed}
_ACTIVE = ("STARTING", "INPROGRESS", "STOPPING")
"""States of a stage that changes something on devices."""


def create(call: ControlCall, asked: Members) -> None:
    name = asked["DeviceFleetName"]
    row = {"name": name, "created": call.now} | _columns(call, asked)
    try:
        call.connection.execute(sa.insert(FLEETS).values(row))
    except IntegrityError:
        raise ApiError("ResourceInUse", f"Resource Already Exists: {call.arn(fleet_resource(name))}") from None
    tags.add(call, fleet_resource(name), asked.get("Tags", ()))
    call.audit(fleet_resource(name), None, asked)


def update(call: ControlCall, asked: Members) -> None:
    """What is not given stays as it is."""
    name = asked["DeviceFleetName"]
    before = held(call, name)
    call.connection.execute(sa.update(FLEETS).where(FLEETS.c.id == before.id).values(_columns(call, asked)))
    call.audit(fleet_resource(name), _members(call, before), _members(call, held(call, name)))


def _columns(call: ControlCall, asked: Members) -> dict[str, Any]:
    """What the input gives. No role alias is made anywhere: the fleet has its name."""
    columns = {"output": json.dumps(asked["OutputConfig"]), "changed": call.now}
    for member, column in (("Description", "description"), ("RoleArn", "role_arn")):
        if member in asked:
            columns[column] = asked[member]
    if "EnableIotRoleAlias" in asked:
        columns["iot_role_alias"] = f"SageMakerEdge-{asked['DeviceFleetName']}" if asked["EnableIotRoleAlias"] else None
    return columns


def delete(call: ControlCall, asked: Members) -> None:
    """The fleet's plans and rollouts go with it: a later fleet of that name is a new one."""
    name = asked["DeviceFleetName"]
    of_fleet = sa.select(PLANS.c.name).join(FLEETS).where(FLEETS.c.name == name).order_by(PLANS.c.id)
    plans = list(call.connection.scalars(of_fleet.with_for_update(of=PLANS)))
    select = sa.select(FLEETS).where(FLEETS.c.name == name).with_for_update()
    fleet = call.connection.execute(select).one_or_none()
    if fleet is None:
        raise validation_error(f"DeviceFleet with name {name} does not exist")
    _require_unused(call, fleet.id, name)
    rollouts = sa.select(ROLLOUTS.c.name).where(ROLLOUTS.c.fleet == fleet.id).order_by(ROLLOUTS.c.id)
    gone = [
        *map(plan_resource, plans),
        *(deployment_resource(name, each) for each in call.connection.scalars(rollouts)),
    ]
    kept = (PLANS, ROLLOUTS, FLEET_STATES, FLEET_MODELS, FLEET_HOURS)
    for column in (*(table.c.fleet for table in kept), FLEETS.c.id):
        call.connection.execute(sa.delete(column.table).where(column == fleet.id))
    tags.delete_all(call, [fleet_resource(name), *map(plan_resource, plans)])
    call.audits((each, {"DeviceFleetName": name}, None) for each in gone)
    call.audit(fleet_resource(name), _members(call, fleet), None)


def _require_unused(call: ControlCall, fleet: int, name: str) -> None:
    stages = sa.select(PLANS.c.name).join_from(PLAN_STAGES, PLANS)
    uses = {
        "devices": sa.select(DEVICES.c.name).where(DEVICES.c.fleet == fleet),
        "a rollout that has not ended": sa.select(ROLLOUTS.c.name).where(
            ROLLOUTS.c.fleet == fleet, ROLLOUTS.c.state.in_([*OPEN, "preparing"])
        ),
        "a plan with an active stage": stages.where(PLANS.c.fleet == fleet, PLAN_STAGES.c.state.in_(_ACTIVE)),
    }
    for use, select in uses.items():
        one = call.connection.scalar(select.limit(1))
        if one is not None:
            arn = call.arn(fleet_resource(name))
            raise ApiError("ResourceInUse", f"Resource In Use: {arn} has {use} ({one})")


def held(call: ControlCall, name: str) -> sa.Row[Any]:
    """The row, which nobody else changes until the commit. Raises ApiError."""
    return find(call, name, sa.select(FLEETS).with_for_update(key_share=True))


def find(call: ControlCall, name: str, select: sa.Select[Any]) -> sa.Row[Any]:
    """The row. Raises ApiError."""
    found = call.connection.execute(select.where(FLEETS.c.name == name)).one_or_none()
    if found is None:
        raise validation_error(f"No devicefleet with name {name}")
    return found


def describe(call: ControlCall, asked: Members) -> Members:
    return _members(call, find(call, asked["DeviceFleetName"], sa.select(FLEETS)))


def _members(call: ControlCall, found: sa.Row[Any]) -> Members:
    members: dict[str, Any] = {
        "DeviceFleetArn": call.arn(fleet_resource(found.name)),
        "DeviceFleetName": found.name,
        "OutputConfig": output_config(found),
        "CreationTime": found.created,
        "LastModifiedTime": found.changed,
    }
    optional = {"Description": found.description, "RoleArn": found.role_arn, "IotRoleAlias": found.iot_role_alias}
    return members | {name: value for name, value in optional.items() if value}


def output_config(found: sa.Row[Any]) -> Members:
    config: Members = DEFAULT_OUTPUT if found.output is None else json.loads(found.output)
    return config


def list_fleets(call: ControlCall, asked: Members) -> Members:
    select = sa.select(FLEETS.c.name, FLEETS.c.created, FLEETS.c.changed)
    select = select.where(*in_times(asked, FLEETS.c.created, FLEETS.c.changed))
    if "NameContains" in asked:
        select = select.where(contains(FLEETS.c.name, asked["NameContains"]))
    rows, token = page(call.connection, select, asked, FLEETS.c.id, _SORTED, "CREATION_TIME")
    summaries = [
        {
            "DeviceFleetArn": call.arn(fleet_resource(name)),
            "DeviceFleetName": name,
            "CreationTime": created,
            "LastModifiedTime": changed,
        }
        for name, created, changed, *_ in map(tuple, rows)
    ]
    return with_token({"DeviceFleetSummaries": summaries}, token)


OPERATIONS = {
    "CreateDeviceFleet": ControlOperation(create, writes=True),
    "DescribeDeviceFleet": ControlOperation(describe),
    "UpdateDeviceFleet": ControlOperation(update, writes=True),
    "DeleteDeviceFleet": ControlOperation(delete, writes=True),
    "ListDeviceFleets": ControlOperation(list_fleets),
}
