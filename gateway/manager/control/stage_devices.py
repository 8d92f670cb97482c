"""ListStageDevices: the devices of a stage, page by page, each of which costs the same wherever it is.

Of a stage that was started they come in the order in which it reaches them; of another one, in the order of their
names, those that the start would choose now. Which those of a PERCENTAGE are, only all names of the fleet tell: they
are read once, before the first page, and its token has the result.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.arns import device_resource, plan_resource
from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.control.fleet_parts import fleet_parts
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
from gateway.manager.control.selection import StageChoice, is_for
from gateway.manager.control.stage_states import device_status, stage_name
from gateway.manager.rollouts import Rollout, RolloutDeviceState, place_of
from gateway.manager.store import Store, bulk
from gateway.manager.store.control_tables import PLAN_STAGES, PLANS
from gateway.manager.store.tables import DEPLOYMENTS, DEVICES, FLEETS, RESULTS, ROLLOUT_DEVICES

CHUNK = 500
"""Devices that are looked up at once, where some are left out."""
SCANNED = 10_000
"""Devices that a page looks at, where some are left out: it may have few devices, or none, and a token."""


@dataclass(frozen=True, slots=True)
class _Device:
    """`place`: the values of a NextToken after it. `state` None: the stage was not started."""

    place: tuple[int | str, ...]
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


@dataclass(frozen=True, slots=True)
class _Part:
    """Devices that were looked at: those of the stage. `looked_at`: how many; `end`: the place of the last one."""

    devices: Sequence[_Device]
    looked_at: int
    end: tuple[int | str, ...]


def find_last_place(store: Store, asked: Members) -> Members:
    """For the first page of a PERCENTAGE that was not started: the input, with a token that names no device yet."""
    select = (
        sa.select(PLAN_STAGES.c.selection, FLEETS.c.name)
        .join_from(PLAN_STAGES, PLANS)
        .join(FLEETS)
        .where(PLANS.c.name == asked["EdgeDeploymentPlanName"], PLAN_STAGES.c.name == asked["StageName"])
    )
    waits = select.where(PLAN_STAGES.c.rollout.is_(None))
    found = store.read(lambda transaction: transaction.connection.execute(waits).one_or_none())
    selection = {} if found is None else json.loads(found.selection)
    if found is None or "NextToken" in asked or selection.get("Percentage", 100) == 100:
        return asked
    choice = StageChoice(asked["EdgeDeploymentPlanName"], selection)
    for devices in fleet_parts(store, found.name):
        choice.add(devices)
    return {**asked, "NextToken": encode_token("", choice.last_place().hex())}


def list_stage_devices(call: ControlCall, asked: Members) -> Members:
    stage = _find(call, asked["EdgeDeploymentPlanName"], asked["StageName"])
    limit = max(asked.get("MaxResults", MOST), 1)
    excludes = asked.get("ExcludeDevicesDeployedInOtherStage", False)
    found: list[tuple[_Device, str | None]] = []
    looked_at, end = 0, None
    for part in _parts(call, stage, asked.get("NextToken"), CHUNK if excludes else limit + 1):
        stages = _stages_of(call, stage, [each.id for each in part.devices]) if part.devices else {}
        found += [
            (each, stages.get(each.id))
            for each in part.devices
            if not excludes or stages.get(each.id) in (None, stage.name)
        ]
        looked_at += part.looked_at
        if len(found) > limit:
            end = found[limit - 1][0].place
            break
        if looked_at >= SCANNED:
            end = part.end
            break
    shown = found[:limit]
    token = encode_token(*end) if end is not None else None
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


def _parts(call: ControlCall, stage: _Stage, token: str | None, size: int) -> Iterator[_Part]:
    """What is after that place, in order; `size`: of a part, where each device that is looked at is of the stage."""
    if stage.rollout is None:
        yield from _candidates(call, stage, token)
        return
    [place] = decode_token(token, int) if token is not None else [stage.bounds[0] - 1]
    while devices := _reached(call.connection, stage, stage.rollout, place, size):
        yield _Part(devices, len(devices), devices[-1].place)
        [place] = devices[-1].place


def _candidates(call: ControlCall, stage: _Stage, token: str | None) -> Iterator[_Part]:
    """Those that a start would choose, also those that other stages of the plan have."""
    after, last_place = decode_token(token, str, str) if token is not None else ("", "")
    named = stage.selection.get("DeviceNames")
    while True:
        if named is None:
            devices = call.transaction.device_part(stage.fleet, after, CHUNK)
        else:
            registered = call.transaction.device_ids(stage.fleet, named)
            devices = sorted(each for each in registered.items() if each[0] > after)
        if not devices:
            return
        after, _ = devices[-1]
        chosen = [
            _Device((name, last_place), number)
            for name, number in devices
            if is_for(stage.selection, name) and not (last_place and place_of(stage.plan, name).hex() > last_place)
        ]
        yield _Part(chosen, len(devices), (after, last_place))


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
    return [_Device((where,), device, RolloutDeviceState(state)) for where, device, state in rows]


def _stages_of(call: ControlCall, stage: _Stage, device_ids: Sequence[int]) -> dict[int, str]:
    """Device -> the stage of the plan that has it."""
    select = in_rollouts(call.connection, stage.rollouts.keys(), device_ids)
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
