"""Deployment plans and their stages as they are stored; a rollout that a command made is one too. Decides nothing."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import sqlalchemy as sa

from gateway.manager.control.calls import ControlCall, Members
from gateway.manager.control.stage_states import Counters, DeviceCounts, StageView, add_counters, count, stage_status
from gateway.manager.errors import ApiError, validation_error
from gateway.manager.rollouts import HALTED, PUBLISHED, Rollout, RolloutDeviceState, RolloutRepository
from gateway.manager.store import bulk
from gateway.manager.store.control_tables import PLAN_STAGES, PLANS
from gateway.manager.store.tables import FLEETS, ROLLOUT_DEVICES, ROLLOUTS

COMMANDED = ROLLOUTS.c.plan.is_(None) & PUBLISHED
"""Rollouts that a command made."""


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """`models`: ModelConfigs. Times are Unix seconds."""

    id: int
    name: str
    fleet: str
    models: list[Members]
    created: float
    changed: float


@dataclass(frozen=True, slots=True)
class StoredStage:
    """A row of `plan_stages`, and the rollout that carries it out. `state` as in the table."""

    number: int
    name: str
    selection: Members
    policy: str
    state: str
    message: str
    started: float | None
    rollout: Rollout | None

    @property
    def counters(self) -> Counters:
        progress = None if self.rollout is None else self.rollout.progress
        return Counters() if progress is None else count(progress.devices, progress.state)

    @property
    def status(self) -> tuple[str, str]:
        """(StageStatus, message)"""
        if self.rollout is None:
            return self.state, self.message
        return stage_status(self.rollout, self.rollout.progress.devices)

    def view(self) -> StageView:
        return StageView(self.name, self.selection, self.policy, *self.status, self.counters, self.started)


def no_plan(name: str) -> ApiError:
    return validation_error(f"No edge deployment plan with name {name}")


def no_stage(plan: str, stage: str) -> ApiError:
    return validation_error(f"No stage with name {stage} in the edge deployment plan {plan}")


def find_plan(connection: sa.Connection, name: str, *, lock: bool = False) -> DeploymentPlan | None:
    """`lock`: until the commit nobody else changes the plan or its stages."""
    select = sa.select(
        *(PLANS.c.id, PLANS.c.name, FLEETS.c.name, PLANS.c.models, PLANS.c.created, PLANS.c.changed)
    ).join_from(PLANS, FLEETS)
    select = select.where(PLANS.c.name == name)
    found = connection.execute(select.with_for_update(of=PLANS, key_share=True) if lock else select).one_or_none()
    if found is None:
        return None
    number, name, fleet, models, created, changed = found
    return DeploymentPlan(number, name, fleet, json.loads(models), created, changed)


def find_rollout(call: ControlCall, name: str) -> Rollout | None:
    """The newest one of that name that a command made, in whatever fleet."""
    select = sa.select(sa.func.max(ROLLOUTS.c.id)).where(ROLLOUTS.c.name == name, COMMANDED)
    found = call.connection.scalar(select)
    return None if found is None else RolloutRepository(call.transaction).read(found)


def locked_plan(call: ControlCall, name: str) -> DeploymentPlan:
    """To be changed. Raises ApiError, also where a command made it."""
    plan = find_plan(call.connection, name, lock=True)
    if plan is not None:
        return plan
    rollout = find_rollout(call, name)
    if rollout is None:
        raise no_plan(name)
    commands = "pause, resume, abort or undo"
    raise validation_error(
        f"{name} is a deployment of the command `manager deploy`, whose stages start by themselves: `manager {commands}"
        f" {rollout.fleet} {name}` change it"
    )


def read_stages(call: ControlCall, plan: int) -> list[StoredStage]:
    """In their order."""
    select = sa.select(PLAN_STAGES).where(PLAN_STAGES.c.plan == plan).order_by(PLAN_STAGES.c.number)
    rows = call.connection.execute(select).all()
    rollouts = RolloutRepository(call.transaction).read_all([each.rollout for each in rows if each.rollout is not None])
    return [
        StoredStage(
            *(row.number, row.name, json.loads(row.selection), row.policy, row.state, row.message, row.started),
            rollout=rollouts.get(row.rollout),
        )
        for row in rows
    ]


def require_stage(call: ControlCall, plan: DeploymentPlan, name: str) -> tuple[StoredStage, list[StoredStage]]:
    """The stage of that name, and all of the plan. Raises ApiError."""
    stages = read_stages(call, plan.id)
    for stage in stages:
        if stage.name == name:
            return stage, stages
    raise no_stage(plan.name, name)


def stage_bounds(connection: sa.Connection, rollout: Rollout) -> list[int]:
    """Where the stages of a rollout that a command made end, as places of `rollout_devices`.

    By the number of devices that it was made with: a stage keeps its devices when others are deregistered.
    """
    if len(rollout.progress.rules.stages) == 1:
        return [2**62]
    places = [
        sa.select(sa.func.max(ROLLOUT_DEVICES.c.place))
        .where(ROLLOUT_DEVICES.c.rollout == rollout.id, ROLLOUT_DEVICES.c.state == state)
        .scalar_subquery()
        for state in RolloutDeviceState
    ]
    found = connection.execute(sa.select(*places)).one()
    total = 1 + max((place for place in found if place is not None), default=-1)
    return [ceil(stage.share * total) for stage in rollout.progress.rules.stages]


def devices_by_stage(connection: sa.Connection, rollout: Rollout) -> dict[int, DeviceCounts]:
    """Stage, from 0, of a rollout that a command made -> its devices."""
    bounds = stage_bounds(connection, rollout)
    if len(bounds) == 1:
        return {0: rollout.progress.devices}
    place, state = ROLLOUT_DEVICES.c.place, ROLLOUT_DEVICES.c.state
    stage = sa.case(*((place < bound, number) for number, bound in enumerate(bounds)), else_=len(bounds) - 1)
    select = sa.select(stage.label("stage"), state, sa.func.count()).where(ROLLOUT_DEVICES.c.rollout == rollout.id)
    found: dict[int, dict[RolloutDeviceState, int]] = {}
    for number, name, devices in connection.execute(select.group_by("stage", state)):
        found.setdefault(number, {})[RolloutDeviceState(name)] = devices
    return {**found}


def counters_of_plans(call: ControlCall, plans: Collection[int]) -> dict[int, Counters]:
    """Of all stages of each plan."""
    select = sa.select(PLAN_STAGES.c.plan, PLAN_STAGES.c.rollout)
    started = call.connection.execute(
        select.where(bulk.is_one(call.connection, PLAN_STAGES.c.plan, plans), PLAN_STAGES.c.rollout.is_not(None))
    ).all()
    found = counters_of_rollouts(call, [rollout for _, rollout in started])
    return {
        plan: add_counters(found[rollout] for of, rollout in started if of == plan and rollout in found)
        for plan in plans
    }


def counters_of_rollouts(call: ControlCall, rollouts: Iterable[int]) -> Mapping[int, Counters]:
    read = RolloutRepository(call.transaction).read_all(list(rollouts))
    return {number: count(each.progress.devices, each.progress.state) for number, each in read.items()}


def in_rollouts(connection: sa.Connection, rollouts: Collection[int], devices: Collection[int]) -> sa.Select[Any]:
    """(device, rollout) of those of the devices that have the deployment, had it or may still get it."""
    select = sa.select(ROLLOUT_DEVICES.c.device, ROLLOUT_DEVICES.c.rollout).join_from(ROLLOUT_DEVICES, ROLLOUTS)
    never = (ROLLOUT_DEVICES.c.state == RolloutDeviceState.WAITING) & ROLLOUTS.c.state.in_(HALTED)
    return select.where(
        bulk.is_one(connection, ROLLOUT_DEVICES.c.rollout, rollouts),
        bulk.is_one(connection, ROLLOUT_DEVICES.c.device, devices),
        ROLLOUT_DEVICES.c.state != RolloutDeviceState.WITHDRAWN,
        sa.not_(never),
    )
