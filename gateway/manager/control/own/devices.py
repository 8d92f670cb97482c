"""Devices and fleets, as an operator registers and reads them."""

from collections.abc import Mapping

from gateway.manager.control.calls import ControlCall, ControlOperation, Members, StoreCall, StoreOperation
from gateway.manager.control.own.outputs import device_token, limit_of, output, page_of, start_of
from gateway.manager.control.paging import decode_token, encode_token
from gateway.manager.errors import validation_error
from gateway.manager.reports import (
    count_devices,
    device_log,
    device_report,
    device_reports,
    device_rows,
    fleet_reports,
)
from gateway.manager.rollouts import actions

NEWEST = 100
"""Entries of a log, where MaxResults says nothing."""


def add(call: ControlCall, asked: Members) -> Members:
    """To register one twice changes nothing."""
    auditor = call.caller.auditor(call.action, call.now)
    new = call.transaction.register(asked["DeviceFleetName"], asked["DeviceNames"], call.now, auditor)
    return output("AddDevices", new_device_names=sorted(new))


def list_names(call: StoreCall, asked: Members) -> Members:
    limit, fleet = limit_of(asked), asked.get("DeviceFleetName")
    if fleet is not None:
        actions.require_fleet(call.store, fleet)
    devices, more = page_of(device_rows(call.store, fleet, after=start_of(asked), limit=limit + 1), limit)
    token = device_token(devices[-1], more) if devices else None
    return output("ListDeviceNames", devices=devices, next_token=token)


def list_reports(call: StoreCall, asked: Members) -> Members:
    limit, fleet = limit_of(asked), asked.get("DeviceFleetName")
    if fleet is not None:
        actions.require_fleet(call.store, fleet)
    start, state, part = _filters(asked)
    found = device_reports(call.store, call.now, fleet, after=start, limit=limit + 1, state=state, part=part)
    devices, more = page_of(found, limit)
    token = device_token(devices[-1], more) if devices else None
    return output("ListDeviceReports", devices=devices, next_token=token)


def report(call: StoreCall, asked: Members) -> Members:
    fleet, device = asked["DeviceFleetName"], asked["DeviceName"]
    found = device_report(call.store, call.now, actions.require_device(call.store, fleet, device))
    if found is None:
        raise validation_error(f"device {device} of fleet {fleet} was just deregistered")
    return output("GetDeviceReport", device=found)


def count(call: StoreCall, asked: Members) -> Members:
    fleet, (start, state, part) = asked.get("DeviceFleetName"), _filters(asked)
    return {"Devices": count_devices(call.store, call.now, fleet, after=start, state=state, part=part)}


def _filters(asked: Members) -> tuple[tuple[str, str], str | None, str | None]:
    """(after, state, part of the name)"""
    return start_of(asked), asked.get("State"), asked.get("NameContains")


def list_fleets(call: StoreCall, asked: Members) -> Members:
    """In the order of their names."""
    limit, fleet = limit_of(asked), asked.get("DeviceFleetName")
    if fleet is not None:
        actions.require_fleet(call.store, fleet)
    [after] = decode_token(asked["NextToken"], str) if "NextToken" in asked else [""]
    reports = (each for each in fleet_reports(call.store, fleet) if each["fleet"] > after)
    fleets, more = page_of(reports, limit)
    token = encode_token(fleets[-1]["fleet"]) if more else None
    return output("ListFleetReports", fleets=fleets, next_token=token)


def read_log(call: StoreCall, asked: Members) -> Members:
    number = actions.require_device(call.store, asked["DeviceFleetName"], asked["DeviceName"])
    return output("GetDeviceLog", entries=device_log(call.store, number, asked.get("MaxResults", NEWEST)))


OPERATIONS: Mapping[str, ControlOperation | StoreOperation] = {
    "AddDevices": ControlOperation(add, writes=True),
    "ListDeviceNames": StoreOperation(list_names),
    "ListDeviceReports": StoreOperation(list_reports),
    "GetDeviceReport": StoreOperation(report),
    "CountDevices": StoreOperation(count),
    "ListFleetReports": StoreOperation(list_fleets),
    "GetDeviceLog": StoreOperation(read_log),
}
