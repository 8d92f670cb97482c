"""GetDeviceFleetReport: how many devices of a fleet are connected, and which agent and models they have.

A device is connected unless it is silent, gone or was never heard, as `api.judge` has it.
"""

import sqlalchemy as sa

from gateway.manager.control import fleets
from gateway.manager.control.arns import fleet_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.store.tables import DEVICE_MODELS, DEVICE_STATES, DEVICES, FLEET_STATES, FLEETS

_CONNECTED = ("connected", "asleep", "not announced")
LARGE = 20_000
"""Devices of a fleet whose versions are not counted for each report."""
KEPT_S = 60.0
"""Seconds for which they are told again, with the time at which they were counted."""
_MOST = 100
"""Versions of agents, and of models: those that most devices have."""


def report(call: ControlCall, asked: Members) -> Members:
    """It reads the state of each device of the fleet, of a large one not more often than each `KEPT_S`."""
    fleet = fleets.find(call, asked["DeviceFleetName"], sa.select(FLEETS))
    states = sa.select(FLEET_STATES.c.state, FLEET_STATES.c.devices).where(FLEET_STATES.c.fleet == fleet.id)
    counts = dict(call.connection.execute(states).all())
    registered = sum(counts.values())
    counted = call.reports.get(fleet.id)
    if registered < LARGE or counted is None or not 0 <= call.now - counted["ReportGenerated"] < KEPT_S:
        counted = {
            "ReportGenerated": call.now,
            "AgentVersions": _agents(call, fleet.id),
            "ModelStats": _models(call, fleet.id),
        }
        if registered >= LARGE:
            call.reports[fleet.id] = counted
    members = {
        "DeviceFleetArn": call.arn(fleet_resource(fleet.name)),
        "DeviceFleetName": fleet.name,
        "OutputConfig": fleets.output_config(fleet),
        "DeviceStats": {
            "ConnectedDeviceCount": sum(counts.get(state, 0) for state in _CONNECTED),
            "RegisteredDeviceCount": registered,
        },
        **counted,
    }
    return members if not fleet.description else members | {"Description": fleet.description}


def _agents(call: ControlCall, fleet: int) -> list[Members]:
    version, count = DEVICE_STATES.c.agent_version, sa.func.count()
    select = sa.select(version, count).join_from(DEVICES, DEVICE_STATES)
    select = select.where(DEVICES.c.fleet == fleet, version.is_not(None))
    found = call.connection.execute(select.group_by(version).order_by(count.desc(), version).limit(_MOST))
    return [{"Version": each, "AgentCount": devices} for each, devices in found]


def _models(call: ControlCall, fleet: int) -> list[Members]:
    """By model and version. No sample data is collected here: none of these devices counts as sampling."""
    name, version, count = DEVICE_MODELS.c.name, DEVICE_MODELS.c.version, sa.func.count()
    is_connected = DEVICE_STATES.c.state.in_(_CONNECTED)
    connected = sa.func.coalesce(sa.func.sum(sa.case((is_connected, 1), else_=0)), 0)
    active = sa.func.coalesce(sa.func.sum(sa.case((is_connected & DEVICE_MODELS.c.newest, 1), else_=0)), 0)
    select = sa.select(name, version, count, connected, active).select_from(
        DEVICES.join(DEVICE_STATES).join(DEVICE_MODELS, DEVICE_MODELS.c.device == DEVICES.c.id)
    )
    of_fleet = select.where(DEVICES.c.fleet == fleet).group_by(name, version)
    found = call.connection.execute(of_fleet.order_by(count.desc(), name, version).limit(_MOST))
    return [
        {
            "ModelName": model,
            "ModelVersion": of_model,
            "OfflineDeviceCount": devices - int(there),
            "ConnectedDeviceCount": int(there),
            "ActiveDeviceCount": int(running),
            "SamplingDeviceCount": 0,
        }
        for model, of_model, devices, there, running in found
    ]


OPERATIONS = {"GetDeviceFleetReport": ControlOperation(report)}
