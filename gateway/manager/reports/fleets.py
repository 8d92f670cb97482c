"""Counts of devices by fleet: by state, and by the models that they run."""

import sqlalchemy as sa

from gateway.manager.reports.forms import FleetReport, ModelCount
from gateway.manager.store import Store, bulk
from gateway.manager.store.tables import FLEET_STATES, FLEETS
from gateway.manager.store.totals import NEWEST_MODELS


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
    is_one, parameters = bulk.numbers(connection, reports)
    newest = NEWEST_MODELS.format(fleet=f"devices.fleet {is_one}")
    ordered = f"{newest} ORDER BY fleet, name, version"
    for number, name, version, devices in connection.exec_driver_sql(ordered, parameters):
        reports[number]["models"].append(ModelCount(name=name, version=version, devices=devices))
    return list(reports.values())
