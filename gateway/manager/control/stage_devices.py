"""ListStageDevices: the devices of a stage in the order in which it reaches them, page by page.

Of a stage that was started a page costs the same wherever it is. Of one that was not, the devices are chosen anew for
each page, as the start would choose them; that takes seconds for a million devices.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.arns import device_resource, plan_resource
from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.control.paging import MOST, decode_token, encode_token, with_token
from gateway.manager.control.plan_rows import (
    find_plan,
    find_rollout,
    in_rollouts,
    no_plan,
    no_stage,
    require_stage,
    stage_bounds,
)
from gateway.manager.control.selection import select_devices
from gateway.manager.control.stage_states import device_status, stage_name
from gateway.manager.rollouts import Rollout, RolloutDeviceState
from gateway.manager.store import bulk
from gateway.manager.store.tables import DEPLOYMENTS, DEVICES, RESULTS, ROLLOUT_DEVICES

CHUNK = 500
"""Devices that are looked up at once, where some are left out."""


@dataclass(frozen=True, slots=True)
class _Device:
    """`place`: where it is in the stage's order, as of a NextToken. `state` None: the stage was not started."""

    place: int | str
    id: int
    state: RolloutDeviceState | None = None


@dataclass(frozen=True, slots=True)
class _Stage:
    """`rollouts`: of the plan's stages -> their names. `bounds`: the places in `rollout` that are its own."""

    plan: str
    fleet: str
    name: str
    selection: Members
    rollout: Rollout | None
    rollouts: Mapping[int, str]
    bounds: tuple[int, int] = (0, 2**62)


def list_stage_devices(call: ControlCall, asked: Members) -> Members:
    stage = _find(call, asked["EdgeDeploymentPlanName"], asked["StageName"])
    limit = max(asked.get("MaxResults", MOST), 1)
    excludes = asked.get("ExcludeDevicesDeployedInOtherStage", False)
    found: list[tuple[_Device, str | None]] = []
    for part in _parts(call, stage, asked.get("NextToken"), CHUNK if excludes else limit + 1):
        stages = _stages_of(call, stage, [each.id for each in part])
        found += [
            (each, stages.get(each.id)) for each in part if not excludes or stages.get(each.id) in (None, stage.name)
        ]
        if len(found) > limit:
            break
    shown = found[:limit]
    token = encode_token(shown[-1][0].place) if len(found) > limit else None
    return with_token({"DeviceDeploymentSummaries": _summaries(call, stage, shown)}, token)


def _find(call: ControlCall, name: str, stage_asked: str) -> _Stage:
    plan = find_plan(call.connection, name)
    if plan is not None:
        stage, stages = require_stage(call, plan, stage_asked)
        rollouts = {each.rollout.id: each.name for each in stages if each.rollout is not None}
        return _Stage(name, plan.fleet, stage.name, stage.selection, stage.rollout, rollouts)
    rollout = find_rollout(call, name)
    if rollout is None:
        raise no_plan(name)
    bounds = [0, *stage_bounds(call.connection, rollout)]
    for number in range(len(bounds) - 1):
        if stage_name(number) == stage_asked:
            own = (bounds[number], bounds[number + 1])
            return _Stage(name, rollout.fleet, stage_asked, {}, rollout, {rollout.id: stage_asked}, own)
    raise no_stage(name, stage_asked)


def _parts(call: ControlCall, stage: _Stage, token: str | None, size: int) -> Iterator[Sequence[_Device]]:
    """The devices after that place, in their order, so many at once."""
    if stage.rollout is None:
        [after] = decode_token(token, str) if token is not None else [""]
        chosen = _choose(call, stage)
        begin = bisect_right(chosen, after, key=lambda each: str(each.place))
        yield from bulk.parts(chosen[begin:], size)
        return
    [place] = decode_token(token, int) if token is not None else [stage.bounds[0] - 1]
    while part := _reached(call.connection, stage, stage.rollout, place, size):
        yield part
        place = part[-1].place


def _choose(call: ControlCall, stage: _Stage) -> list[_Device]:
    """Those that a start would choose, also those that other stages of the plan have."""
    registered = call.transaction.device_ids(stage.fleet, stage.selection.get("DeviceNames"))
    names = select_devices(stage.plan, stage.selection, registered.keys())
    return [_Device(hashlib.sha256(f"{stage.plan}/{name}".encode()).hexdigest(), registered[name]) for name in names]


def _reached(connection: sa.Connection, stage: _Stage, rollout: Rollout, after: int, size: int) -> Sequence[_Device]:
    """The index has the places of each state in order: the first of each state, and of these the first."""
    place = ROLLOUT_DEVICES.c.place
    firsts = []
    for state in RolloutDeviceState:
        select = sa.select(place, ROLLOUT_DEVICES.c.device, ROLLOUT_DEVICES.c.state).where(
            *(ROLLOUT_DEVICES.c.rollout == rollout.id, ROLLOUT_DEVICES.c.state == str(state)),
            *(place > after, place < stage.bounds[1]),
        )
        firsts.append(sa.select(select.order_by(place).limit(size).subquery()))
    found = sa.union_all(*firsts).subquery()
    rows = connection.execute(sa.select(found).order_by(found.c.place).limit(size))
    return [_Device(where, device, RolloutDeviceState(state)) for where, device, state in rows]


def _stages_of(call: ControlCall, stage: _Stage, device_ids: Sequence[int]) -> dict[int, str]:
    """Device -> the stage of the plan that has it."""
    select = in_rollouts(call.connection, stage.rollouts.keys())
    select = select.where(bulk.is_one(call.connection, ROLLOUT_DEVICES.c.device, device_ids))
    return {device: stage.rollouts[rollout] for device, rollout in call.connection.execute(select)}


def _summaries(call: ControlCall, stage: _Stage, shown: Sequence[tuple[_Device, str | None]]) -> list[Members]:
    ids = [each.id for each, _ in shown]
    devices = {row.id: row for row in call.connection.execute(_of(call, DEVICES.c.id, ids, DEVICES))}
    assigned: dict[int, float] = {}
    results: dict[int, str] = {}
    if stage.rollout is not None:
        name = stage.rollout.name
        begun = _of(call, DEPLOYMENTS.c.device, ids, DEPLOYMENTS.c.device, DEPLOYMENTS.c.created)
        reported = _of(call, RESULTS.c.device, ids, RESULTS.c.device, RESULTS.c.result)
        assigned = dict(call.connection.execute(begun.where(DEPLOYMENTS.c.name == name)).all())
        results = dict(call.connection.execute(reported.where(RESULTS.c.deployment == name)).all())
    summaries: list[Members] = []
    for each, deployed in shown:
        row = devices[each.id]
        members: dict[str, Any] = {
            "EdgeDeploymentPlanArn": call.arn(plan_resource(stage.plan)),
            "EdgeDeploymentPlanName": stage.plan,
            "StageName": stage.name,
            "DeviceFleetName": stage.fleet,
            "DeviceName": row.name,
            "DeviceArn": call.arn(device_resource(stage.fleet, row.name)),
        }
        status, message = "READYTODEPLOY", ""
        if stage.rollout is not None and each.state is not None:
            status, message = device_status(each.state, stage.rollout.progress.state)
        message = message or json.loads(results.get(each.id, "{}")).get("DeploymentStatusMessage", "")
        optional = {
            "DeployedStageName": deployed,
            "DeviceDeploymentStatus": status,
            "DeviceDeploymentStatusMessage": message,
            "Description": row.description,
            "DeploymentStartTime": assigned.get(each.id),
        }
        summaries.append(members | {name: value for name, value in optional.items() if value not in (None, "")})
    return summaries


def _of(call: ControlCall, column: sa.Column[int], ids: Sequence[int], *columns: Any) -> sa.Select[Any]:
    return sa.select(*columns).where(bulk.is_one(call.connection, column, ids))
