"""Devices: RegisterDevices and its siblings.

They are the devices that `manager register` knows. Absence is a ValidationException in the words that Terraform's
provider looks for.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.control import fleets, tags
from gateway.manager.control.arns import device_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.paging import MOST, decode_token, encode_token, with_token
from gateway.manager.errors import validation_error
from gateway.manager.store import bulk, limits, reported
from gateway.manager.store.paging import is_of
from gateway.manager.store.tables import DEVICE_MODELS, DEVICE_STATES, DEVICES, FLEETS

SCANNED = 10_000
"""Devices that one page of a list with filters looks at: it may have few devices, or none, and a token."""
FIRST = 500
"""Those that it looks at first: where a filter leaves few out, they fill the page."""


def register(call: ControlCall, asked: Members) -> None:
    """A device that is registered already stays as it is, but gets what is given: a call may be repeated."""
    fleet, devices = asked["DeviceFleetName"], _by_name(asked)
    fleets.held(call, fleet)
    call.transaction.lock_devices(call.transaction.device_ids(fleet, devices).values())
    before = _read(call, fleet, devices)
    call.transaction.register(fleet, devices, call.now)
    _write(call, fleet, devices)
    tags.add_to_all(call, [device_resource(fleet, name) for name in devices], asked.get("Tags", ()))
    _audit(call, fleet, devices, before, _read(call, fleet, devices))


def update(call: ControlCall, asked: Members) -> None:
    """What is not given stays as it is."""
    fleet, devices = asked["DeviceFleetName"], _by_name(asked)
    fleets.find(call, fleet, sa.select(FLEETS))
    before = _read(call, fleet, devices)
    for name in devices:
        if name not in before:
            raise validation_error(f"Device with name {name} in fleet {fleet} does not exist")
    _write(call, fleet, devices)
    _audit(call, fleet, devices, before, _read(call, fleet, devices))


def deregister(call: ControlCall, asked: Members) -> None:
    """All of them, or none where one is not registered."""
    fleet, names = asked["DeviceFleetName"], list(dict.fromkeys(asked["DeviceNames"]))
    before = _read(call, fleet, names)
    gone = call.transaction.deregister_all(fleet, names)
    for name in names:
        if name not in gone:
            raise validation_error(f"Device with name {name} in fleet {fleet} does not exist")
    _audit(call, fleet, names, before, {})


def _by_name(asked: Members) -> dict[str, Members]:
    devices = {each["DeviceName"]: each for each in asked["Devices"]}
    if len(devices) < len(asked["Devices"]):
        raise validation_error("a device is in Devices more than once")
    return devices


def _read(call: ControlCall, fleet: str, names: Collection[str]) -> dict[str, Members]:
    """Name -> its members; those that are not registered are left out."""
    select = sa.select(DEVICES.c.name, DEVICES.c.description, DEVICES.c.iot_thing, DEVICES.c.registered)
    named = select.join(FLEETS).where(FLEETS.c.name == fleet, DEVICES.c.name.in_(names))
    return {each.name: _members(each) for each in call.connection.execute(named)}


def _members(found: sa.Row[*tuple[Any, ...]]) -> dict[str, Any]:
    optional = {"Description": found.description, "IotThingName": found.iot_thing}
    present = {name: value for name, value in optional.items() if value}
    return {"DeviceName": found.name, "RegistrationTime": found.registered} | present


def _write(call: ControlCall, fleet: str, devices: Mapping[str, Members]) -> None:
    """Descriptions and things, as far as they are given."""
    ids = call.transaction.device_ids(fleet, devices)
    call.transaction.lock_devices(ids.values())
    for member, column in (("Description", DEVICES.c.description), ("IotThingName", DEVICES.c.iot_thing)):
        rows = [(number, devices[name][member]) for name, number in ids.items() if member in devices[name]]
        if rows:
            given = bulk.given(call.connection, rows, id=sa.BigInteger, value=sa.Text)
            update = sa.update(DEVICES).values({column: given.c.value}).where(DEVICES.c.id == given.c.id)
            call.connection.execute(update)


def _audit(
    call: ControlCall, fleet: str, names: Collection[str], before: Mapping[str, Members], after: Mapping[str, Members]
) -> None:
    for name in names:
        if before.get(name) != after.get(name):
            call.audit(device_resource(fleet, name), before.get(name), after.get(name))


def describe(call: ControlCall, asked: Members) -> Members:
    fleet, name = asked["DeviceFleetName"], asked["DeviceName"]
    if call.transaction.fleet_id(fleet) is None:
        raise validation_error(f"No device fleet with name {fleet}")
    one = _SELECT.where(FLEETS.c.name == fleet, DEVICES.c.name == name)
    found = call.connection.execute(one).one_or_none()
    if found is None:
        raise validation_error(f"No device with name {name} in fleet {fleet}")
    models = sorted(reported.unpack(found.reported).models.items())
    if "NextToken" in asked:
        last = tuple(decode_token(asked["NextToken"], str, str))
        models = [each for each in models if each[0] > last]
    shown = [
        {"ModelName": model, "ModelVersion": version}
        | _known({"LatestSampleTime": times.sample, "LatestInference": times.inference})
        for (model, version), times in models[:MOST]
    ]
    members = _summary(call, found) | {"Models": shown, "MaxModels": limits.MODELS.most}
    return with_token(members, encode_token(*models[MOST - 1][0]) if len(models) > MOST else None)


_SELECT = sa.select(
    FLEETS.c.name.label("fleet"),
    *(DEVICES.c.name, DEVICES.c.description, DEVICES.c.iot_thing, DEVICES.c.registered),
    *(DEVICE_STATES.c.newest, DEVICE_STATES.c.agent_version, DEVICE_STATES.c.reported),
).select_from(DEVICES.join(FLEETS).join(DEVICE_STATES))
_LISTED = _SELECT.add_columns(DEVICES.c.fleet.label("number")).order_by(DEVICES.c.fleet, DEVICES.c.name)


def _summary(call: ControlCall, found: sa.Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """What the description and the list have in common."""
    newest = None if found.newest is None else found.newest / 1e6
    names = {"DeviceArn": call.arn(device_resource(found.fleet, found.name)), "DeviceFleetName": found.fleet}
    known = _known({"LatestHeartbeat": newest, "AgentVersion": found.agent_version})
    return names | _members(found) | known


def _known(members: Members) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def list_devices(call: ControlCall, asked: Members) -> Members:
    """In the order of the fleets' numbers, and within a fleet in that of the names: a page reads one part of an
    index."""
    limit = max(asked.get("MaxResults", MOST), 1)
    filters = _filters(asked)
    place = decode_token(asked["NextToken"], int, str) if "NextToken" in asked else [0, ""]
    found: list[sa.Row[Any]] = []
    end: Sequence[Any] | None = None
    for size in (FIRST, SCANNED - FIRST) if filters else (limit + 1,):
        part = _after(asked, *place).limit(size)
        is_in = bulk.is_in(call.connection, DEVICES.c.id, part.with_only_columns(DEVICES.c.id))
        found += call.connection.execute(_LISTED.where(is_in, *filters).limit(limit + 1 - len(found)))
        if len(found) > limit:
            end = found[limit - 1].number, found[limit - 1].name
            break
        end = call.connection.execute(part.offset(size - 1).limit(1)).one_or_none()
        if end is None:
            break
        place = [*end]
    shown = [_summary(call, row) | {"Models": _models(row.reported)} for row in found[:limit]]
    return with_token({"DeviceSummaries": shown}, None if end is None else encode_token(*end))


def _filters(asked: Members) -> list[sa.ColumnElement[bool]]:
    filters: list[sa.ColumnElement[bool]] = []
    if "LatestHeartbeatAfter" in asked:
        filters.append(DEVICE_STATES.c.newest > round(asked["LatestHeartbeatAfter"] * 1e6))
    if "ModelName" in asked:
        one = DEVICE_MODELS.c.device == DEVICES.c.id
        filters.append(sa.exists().where(one, DEVICE_MODELS.c.name == asked["ModelName"]))
    return filters


def _after(asked: Members, fleet: int, name: str) -> sa.Select[tuple[int, str]]:
    """(fleet, name) of the devices that follow."""
    select = sa.select(DEVICES.c.fleet, DEVICES.c.name).order_by(DEVICES.c.fleet, DEVICES.c.name)
    if "DeviceFleetName" in asked:
        return select.where(is_of(asked["DeviceFleetName"]), DEVICES.c.name > name)
    return select.where(sa.tuple_(DEVICES.c.fleet, DEVICES.c.name) > sa.tuple_(sa.literal(fleet), sa.literal(name)))


def _models(stored: bytes | None) -> Sequence[Members]:
    return [{"ModelName": model, "ModelVersion": version} for model, version in sorted(reported.unpack(stored).models)]


OPERATIONS = {
    "RegisterDevices": ControlOperation(register, writes=True),
    "UpdateDevices": ControlOperation(update, writes=True),
    "DeregisterDevices": ControlOperation(deregister, writes=True),
    "DescribeDevice": ControlOperation(describe),
    "ListDevices": ControlOperation(list_devices),
}
