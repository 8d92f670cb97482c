"""Reports of devices, page by page: one statement a table for a page, which is as it was at one moment.

Nobody who reads slowly holds a transaction open.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.manager.api import MetricKey, ModelTimes, Sample
from gateway.manager.reports.filters import ANY, DeviceFilter
from gateway.manager.reports.forms import (
    DeviceDeployments,
    DeviceEntry,
    DeviceReport,
    LivenessReport,
    LogReport,
    MetricReport,
    ModelTimesReport,
    ResultReport,
    deployment_report,
)
from gateway.manager.rollouts import RolloutRepository
from gateway.manager.store import Store, Transaction, bulk, read_labels, reported, versions
from gateway.manager.store.heartbeats import state_from
from gateway.manager.store.names import read_keys
from gateway.manager.store.paging import device_page, is_of
from gateway.manager.store.tables import DEVICE_LOG, DEVICE_STATES, DEVICES, FLEET_STATES, FLEETS

PAGE = 500
"""Devices that are read at once."""
START = ("", "")
"""Before the first device."""

T = TypeVar("T")


def device_rows(
    store: Store, fleet: str | None = None, *, after: tuple[str, str] = START, limit: int | None = None
) -> Iterator[DeviceEntry]:
    """The registered devices of that fleet, or of all, in the order of their names; `after`, `limit` as below."""

    def read(transaction: Transaction, after: tuple[str, str], limit: int) -> list[DeviceEntry]:
        rows = transaction.devices(fleet, after=after, limit=limit)
        return [DeviceEntry(fleet=fleet, device=device, registered=at) for fleet, device, at in rows]

    return _pages(store, read, lambda report: (report["fleet"], report["device"]), after, limit)


def device_deployments(
    store: Store, fleet: str | None = None, *, after: tuple[str, str] = START, limit: int | None = None
) -> Iterator[DeviceDeployments]:
    """The deployments in force of each device of that fleet, or of all, in the order of their names.

    Those after (fleet, device), at most `limit`.
    """
    select = sa.select(DEVICES.c.id, FLEETS.c.name, DEVICES.c.name).join_from(DEVICES, FLEETS)

    def read(transaction: Transaction, after: tuple[str, str], limit: int) -> list[DeviceDeployments]:
        rows = device_page(transaction.connection, select, fleet, after, limit)
        in_force = transaction.deployments_in_force([number for number, _, _ in rows])
        urls = {each.url for some in in_force.values() for one in some for each in one.definitions if each.url}
        known = versions(transaction.connection, urls)
        return [
            DeviceDeployments(
                fleet=fleet, device=device, deployments=[deployment_report(each, known) for each in in_force[number]]
            )
            for number, fleet, device in rows
        ]

    return _pages(store, read, lambda report: (report["fleet"], report["device"]), after, limit)


def device_reports(
    store: Store,
    now: float,
    fleet: str | None = None,
    *,
    after: tuple[str, str] = START,
    limit: int | None = None,
    which: DeviceFilter = ANY,
) -> Iterator[DeviceReport]:
    """The devices of that fleet, or of all, in the order of their names.

    Those after (fleet, device), at most `limit`. `now` is for what follows from silence.
    """
    select = _select_devices().where(*which.conditions(now))

    def read(transaction: Transaction, after: tuple[str, str], limit: int) -> list[DeviceReport]:
        return _reports(transaction, device_page(transaction.connection, select, fleet, after, limit), now)

    return _pages(store, read, lambda report: (report["fleet"], report["device"]), after, limit)


def device_report(store: Store, now: float, device_id: int) -> DeviceReport | None:
    """The one of that device; None: it is gone."""
    select = _select_devices().where(DEVICES.c.id == device_id)
    found = store.read(lambda transaction: _reports(transaction, transaction.connection.execute(select).all(), now))
    return found[0] if found else None


def count_devices(
    store: Store,
    now: float,
    fleet: str | None = None,
    *,
    after: tuple[str, str] = START,
    which: DeviceFilter = ANY,
) -> int:
    """How many reports `device_reports` has: the kept counts of the fleets, or those of the filters, without those up
    to `after`."""
    table = DEVICE_STATES if which else FLEET_STATES
    counted = sa.func.count() if which else sa.func.sum(FLEET_STATES.c.devices)
    total = sa.select(counted).select_from(table.join(FLEETS, table.c.fleet == FLEETS.c.id))
    total = total.where(FLEETS.c.name >= after[0] if fleet is None else FLEETS.c.name == fleet)
    before = sa.select(sa.func.count()).select_from(DEVICES).where(is_of(fleet or after[0]), DEVICES.c.name <= after[1])
    if which:
        filters = which.conditions(now)
        total = total.where(*filters)
        joined = before.join(FLEETS).join(DEVICE_STATES, DEVICE_STATES.c.device == DEVICES.c.id)
        before = joined.where(*filters)
    if which.reads_names:
        total = total.join(DEVICES, DEVICES.c.id == DEVICE_STATES.c.device)

    def read(transaction: Transaction) -> int:
        found, gone = (transaction.connection.scalar(each) or 0 for each in (total, before))
        return int(found) - gone

    return store.read(read)


def device_log(store: Store, device_id: int, limit: int) -> list[LogReport]:
    """The newest entries of a device's log, at most `limit`, in the order in which they were written."""
    log = DEVICE_LOG.c
    newest = sa.select(log.at, log.kind, log.detail).where(log.device == device_id).order_by(log.id.desc()).limit(limit)
    rows = store.read(lambda transaction: transaction.connection.execute(newest).all())
    return [LogReport(at=at, kind=kind, detail=json.loads(detail)) for at, kind, detail in reversed(rows)]


def _pages(
    store: Store,
    read: Callable[[Transaction, tuple[str, str], int], list[T]],
    name_of: Callable[[T], tuple[str, str]],
    after: tuple[str, str] = START,
    limit: int | None = None,
) -> Iterator[T]:
    """What `read` returns for (fleet, device) and a number of devices, until there is no more."""
    while limit is None or limit > 0:
        size = PAGE if limit is None else min(PAGE, limit)
        page = store.read(lambda transaction: read(transaction, after, size))  # noqa: B023  (called at once)
        yield from page
        if len(page) < size:
            return
        after = name_of(page[-1])
        limit = None if limit is None else limit - size


def _select_devices() -> sa.Select[Any]:
    states = DEVICE_STATES.c
    return sa.select(
        *(DEVICES.c.id, FLEETS.c.name, DEVICES.c.name, DEVICES.c.registered, states.agent_version, states.accepted),
        *(states.newest, states.announced, states.seconds, states.announced_at, states.heartbeats, states.reported),
    ).select_from(DEVICES.join(FLEETS).join(DEVICE_STATES, states.device == DEVICES.c.id))


def _reports(transaction: Transaction, rows: Sequence[Sequence[Any]], now: float) -> list[DeviceReport]:
    ids = [row[0] for row in rows]
    connection = transaction.connection
    newest = {row[0]: reported.unpack(row[-1]) for row in rows}
    names = read_keys(connection, {metric for each in newest.values() for metric in each.metrics})
    results = _results(connection, ids)
    in_force = transaction.deployments_in_force(ids)
    not_reached = RolloutRepository(transaction).not_reached(ids, now)
    definitions = [each for deployments in in_force.values() for one in deployments for each in one.definitions]
    known = versions(connection, {each.url for each in definitions if each.url is not None})
    labels = read_labels(connection, [(fleet, device) for _, fleet, device, *_ in rows])
    reports = []
    for number, fleet, device, registered, *columns, _ in rows:
        state = state_from(*columns)
        liveness = state.liveness(now)
        reports.append(
            DeviceReport(
                fleet=fleet,
                device=device,
                registered=registered,
                agent_version=state.agent_version,
                accepted=state.accepted,
                newest=state.newest,
                liveness=LivenessReport(
                    state=liveness.state, since=liveness.since, until=liveness.until, seconds=liveness.seconds
                ),
                metrics=[_metric(names[metric], each) for metric, each in sorted(newest[number].metrics.items())],
                models=[_model(*each) for each in sorted(newest[number].models.items())],
                deployments=[deployment_report(each, known) for each in in_force[number]],
                not_reached=not_reached[number],
                results=results[number],
                labels=labels[fleet, device],
            )
        )
    return reports


def _metric(key: MetricKey, sample: Sample) -> MetricReport:
    return MetricReport(
        model=key.model,
        version=key.version,
        dimension=key.dimension,
        name=key.name,
        value=sample.value,
        at=sample.at,
    )


def _model(model: reported.ModelId, times: ModelTimes) -> ModelTimesReport:
    name, version = model
    return ModelTimesReport(name=name, version=version, latest_sample=times.sample, latest_inference=times.inference)


def _results(connection: sa.Connection, ids: Collection[int]) -> dict[int, list[ResultReport]]:
    found: dict[int, list[ResultReport]] = {device: [] for device in ids}
    is_one, parameters = bulk.numbers(connection, ids)
    select = (
        "SELECT device, deployment, result, received, told FROM results"
        f" WHERE device {is_one} ORDER BY device, received, deployment"
    )
    for device, deployment, result, received, told in connection.exec_driver_sql(select, parameters):
        report = ResultReport(deployment=deployment, result=json.loads(result), received=received, told=told)
        found[device].append(report)
    return found
