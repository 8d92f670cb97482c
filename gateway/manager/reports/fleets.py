"""Counts of devices by fleet: by state, and by the models that they run; and counts of rollouts."""

import sqlalchemy as sa

from gateway.manager.reports.forms import FleetReport, ModelCount
from gateway.manager.rollouts import PUBLISHED, RolloutDeviceState
from gateway.manager.store import Store, bulk
from gateway.manager.store.tables import (
    DEPLOYMENTS,
    FLEET_MODELS,
    FLEET_STATES,
    FLEETS,
    ROLLOUT_COUNTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
)

_FAILED = RolloutDeviceState.FAILED
_FAILING = (
    sa.select(ROLLOUTS.c.fleet, sa.func.count(ROLLOUT_DEVICES.c.device.distinct()))
    .join_from(ROLLOUT_COUNTS, ROLLOUTS)
    .join(ROLLOUT_DEVICES, ROLLOUT_DEVICES.c.rollout == ROLLOUTS.c.id)
    .join(DEPLOYMENTS, (DEPLOYMENTS.c.device == ROLLOUT_DEVICES.c.device) & (DEPLOYMENTS.c.name == ROLLOUTS.c.name))
    .where(ROLLOUT_COUNTS.c.state == _FAILED, ROLLOUT_COUNTS.c.devices > 0)
    .where(ROLLOUT_DEVICES.c.state == _FAILED, DEPLOYMENTS.c.in_force)
    .group_by(ROLLOUTS.c.fleet)
)
"""By fleet. Rollouts of which no device failed are not looked at."""


def fleet_reports(store: Store, fleet: str | None = None) -> list[FleetReport]:
    """Each fleet that has a device, or that one alone, in the order of their names."""
    return store.read(lambda transaction: _fleet_reports(transaction.connection, fleet))


def _fleet_reports(connection: sa.Connection, fleet: str | None) -> list[FleetReport]:
    select = (
        sa.select(FLEETS.c.id, FLEETS.c.name, FLEET_STATES.c.state, FLEET_STATES.c.devices)
        .join_from(FLEET_STATES, FLEETS, FLEET_STATES.c.fleet == FLEETS.c.id)
        .where(FLEET_STATES.c.devices > 0)
        .order_by(FLEETS.c.name, FLEET_STATES.c.state)
    )
    if fleet is not None:
        select = select.where(FLEETS.c.name == fleet)
    reports: dict[int, FleetReport] = {}
    for number, name, state, devices in connection.execute(select):
        report = reports.setdefault(number, FleetReport(fleet=name, devices=0, states={}, failing=0, models=[]))
        report["states"][state] = devices
        report["devices"] += devices
    for number, devices in connection.execute(_FAILING.where(bulk.is_one(connection, ROLLOUTS.c.fleet, reports))):
        reports[number]["failing"] = devices
    models = sa.select(FLEET_MODELS).where(bulk.is_one(connection, FLEET_MODELS.c.fleet, reports))
    for number, name, version, devices in connection.execute(models.order_by(*FLEET_MODELS.primary_key)):
        reports[number]["models"].append(ModelCount(name=name, version=version, devices=devices))
    return list(reports.values())


def rollout_counts(store: Store) -> dict[str, int]:
    """How many rollouts there are, by their states (`rollouts.RolloutState`)."""
    select = sa.select(ROLLOUTS.c.state, sa.func.count()).where(PUBLISHED).group_by(ROLLOUTS.c.state)
    rows = store.read(lambda transaction: transaction.connection.execute(select).all())
    return {row.state: row[1] for row in rows}
