"""Device fleets: CreateDeviceFleet and its siblings.

Absence is a ValidationException in the words that Terraform's provider looks for.
"""

import json
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.arns import fleet_resource
from gateway.manager.control.calls import Call, Members, Operation
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.store.tables import FLEETS

DEFAULT_OUTPUT = {"S3OutputLocation": "s3://models/"}
"""The OutputConfig of a fleet that `manager register` made."""


def create(call: Call, asked: Members) -> None:
    name = asked["DeviceFleetName"]
    if call.transaction.fleet_id(name) is not None:
        raise ApiError("ResourceInUse", f"Resource Already Exists: {call.arn(fleet_resource(name))}")
    row = {
        "name": name,
        "description": asked.get("Description", ""),
        "role_arn": asked.get("RoleArn"),
        "output": json.dumps(asked["OutputConfig"]),
        "created": call.now,
        "changed": call.now,
    }
    call.connection.execute(sa.insert(FLEETS).values(row))
    call.audit(fleet_resource(name), None, asked)


def describe(call: Call, asked: Members) -> Members:
    name = asked["DeviceFleetName"]
    found = call.connection.execute(sa.select(FLEETS).where(FLEETS.c.name == name)).one_or_none()
    if found is None:
        raise validation_error(f"No devicefleet with name {name}")
    members: dict[str, Any] = {
        "DeviceFleetArn": call.arn(fleet_resource(name)),
        "DeviceFleetName": name,
        "OutputConfig": DEFAULT_OUTPUT if found.output is None else json.loads(found.output),
        "Description": found.description,
        "CreationTime": found.created,
        "LastModifiedTime": found.changed,
    }
    optional = {"RoleArn": found.role_arn, "IotRoleAlias": found.iot_role_alias}
    return members | {name: value for name, value in optional.items() if value is not None}


OPERATIONS = {"CreateDeviceFleet": Operation(create, writes=True), "DescribeDeviceFleet": Operation(describe)}
