"""Devices and fleets, as an operator registers and reads them."""

from collections.abc import Collection, Mapping

from gateway.manager.control import tags
from gateway.manager.control.arns import device_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members, StoreCall, StoreOperation
from gateway.manager.control.own.outputs import device_token, labels_of, limit_of, output, page_of, start_of
from gateway.manager.control.paging import decode_token, encode_token
from gateway.manager.errors import validation_error
from gateway.manager.reports import (
    DeviceFilter,
    count_devices,
    device_log,
    device_report,
    device_reports,
    device_rows,
    fleet_reports,
)
from gateway.manager.rollouts import actions
from gateway.manager.store import read_labels

NEWEST = 100
"""Entries of a log, where MaxResults says nothing."""


def add(call: ControlCall, asked: Members) -> Members:
    """To register one twice changes nothing, but its labels."""
    fleet, names, labels = asked["DeviceFleetName"], asked["DeviceNames"], labels_of(asked)
    auditor = call.caller.auditor(call.action, call.now)
    if labels:
        call.transaction.lock_devices(call.transaction.device_ids(fleet, names).values())
    new = call.transaction.register(fleet, names, call.now, auditor)
    _change_labels(call, fleet, names, labels, ())
    return output("AddDevices", new_device_names=sorted(new))


def label(call: ControlCall, asked: Members) -> None:
    """All of them, or none where one is not registered."""
    fleet, names = asked["DeviceFleetName"], asked["DeviceNames"]
    ids = call.transaction.device_ids(fleet, names)
    for name in names:
        if name not in ids:
            raise validation_error(f"device {name} is not registered in fleet {fleet}: `manager devices` lists all")
    call.transaction.lock_devices(ids.values())
    _change_labels(call, fleet, names, labels_of(asked), asked.get("LabelKeys", ()))


def _change_labels(
    call: ControlCall, fleet: str, names: Collection[str], added: Mapping[str, str], removed: Collection[str]
) -> None:
    """Of devices that this transaction holds; a row of the audit for each that changes."""
    if not added and not removed:
        return
    devices = [(fleet, name) for name in dict.fromkeys(names)]
    before = read_labels(call.connection, devices)
    resources = [device_resource(*each) for each in devices]
    tags.delete_from_all(call, resources, removed)
    tags.add_to_all(call, resources, _tags(added))
    after = read_labels(call.connection, devices)
    changed = (each for each in devices if before[each] != after[each])
    call.audits(
        (device_resource(*each), {"Tags": _tags(before[each])}, {"Tags": _tags(after[each])}) for each in changed
    )


def _tags(labels: Mapping[str, str]) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


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
    found = device_reports(call.store, call.now, fleet, after=start_of(asked), limit=limit + 1, which=_filter(asked))
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
    fleet = asked.get("DeviceFleetName")
    return {"Devices": count_devices(call.store, call.now, fleet, after=start_of(asked), which=_filter(asked))}


def _filter(asked: Members) -> DeviceFilter:
    return DeviceFilter(asked.get("State"), asked.get("NameContains"), asked.get("ModelVersion"), labels_of(asked))


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
    "LabelDevices": ControlOperation(label, writes=True),
    "ListDeviceNames": StoreOperation(list_names),
    "ListDeviceReports": StoreOperation(list_reports),
    "GetDeviceReport": StoreOperation(report),
    "CountDevices": StoreOperation(count),
    "ListFleetReports": StoreOperation(list_fleets),
    "GetDeviceLog": StoreOperation(read_log),
}
