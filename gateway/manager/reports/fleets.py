"""Counts of devices by fleet: by state, and by the models that they run; and counts of rollouts."""

import sqlalchemy as sa

from gateway.manager.reports.forms import FleetReport, ModelCount
from gateway.manager.rollouts import PUBLISHED
from gateway.manager.store import Store, bulk
from gateway.manager.store.tables import FLEET_MODELS, FLEET_STATES, FLEETS, ROLLOUTS


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
        report = reports.setdefault(number, FleetReport(fleet=name, devices=0, states={}, models=[]))
        report["states"][state] = devices
        report["devices"] += devices
    models = sa.select(FLEET_MODELS).where(bulk.is_one(connection, FLEET_MODELS.c.fleet, reports))
    for number, name, version, devices in connection.execute(models.order_by(*FLEET_MODELS.primary_key)):
        reports[number]["models"].append(ModelCount(name=name, version=version, devices=devices))
    return list(reports.values())


def rollout_counts(store: Store) -> dict[str, int]:
    """How many rollouts there are, by their states (`rollouts.RolloutState`)."""
    select = sa.select(ROLLOUTS.c.state, sa.func.count()).where(PUBLISHED).group_by(ROLLOUTS.c.state)
    rows = store.read(lambda transaction: transaction.connection.execute(select).all())
    return {row.state: row[1] for row in rows}
