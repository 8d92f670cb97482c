"""Versions of models: their files, the deployments that name them, and how many devices should and do run them.

Its cost does not grow with the devices: it reads the counts that are kept. It must never write.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import sqlalchemy as sa

from gateway.manager.rollouts import PENDING, PUBLISHED, RolloutDeviceState
from gateway.manager.store import Transaction, bulk, versions
from gateway.manager.store.control_tables import MADE, PACKAGES
from gateway.manager.store.tables import FLEET_MODELS, FLEETS, ROLLOUT_COUNTS, ROLLOUTS

MOST_ROLLOUTS = 10_000
"""The newest rollouts, in which versions are looked for."""
HAVE_IT = (*PENDING, RolloutDeviceState.SUCCEEDED, RolloutDeviceState.FAILED)
"""States of devices that got a deployment which no newer one replaced."""


class PackageFile(TypedDict):
    """A package of a version: `package` is the name of its job, empty `job`: `deploy` made it. `size` in bytes, `sha1`
    as 40 hex digits; `made` in Unix seconds."""

    package: str
    job: str
    url: str
    size: int
    sha1: str
    made: float


class NamingDeployment(TypedDict):
    """A deployment that names a file of the version."""

    fleet: str
    deployment: str
    state: str


class FleetVersion(TypedDict):
    """Devices of a fleet: how many should have the version by their rollouts, and how many report that they run it."""

    fleet: str
    wanted: int
    running: int


class VersionReport(TypedDict):
    """A version of a model. `newest`: the id of its newest package. Lists begin with the newest, or most devices."""

    model: str
    version: str
    newest: int
    packages: list[PackageFile]
    deployments: list[NamingDeployment]
    fleets: list[FleetVersion]


class UnknownVersion(TypedDict):
    """A version that devices report, and of which there is no package."""

    name: str
    version: str
    devices: int
    fleets: int


_PACKAGE, _MODEL, _COUNT = PACKAGES.c, FLEET_MODELS.c, ROLLOUT_COUNTS.c


def version_reports(
    transaction: Transaction, *, model: str | None = None, after: tuple[str, int] | None = None, limit: int = 100
) -> list[VersionReport]:
    """The versions in the order of their models, the newest first: those of that model, and those that follow `after`
    (the `model` and `newest` of a version).
    """
    connection, newest = transaction.connection, sa.func.max(_PACKAGE.id)
    select = sa.select(_PACKAGE.model, _PACKAGE.version, newest).where(_PACKAGE.status == MADE)
    select = select.group_by(_PACKAGE.model, _PACKAGE.version).order_by(_PACKAGE.model, newest.desc())
    if model is not None:
        select = select.where(_PACKAGE.model == model)
    if after is not None:
        select = select.having((_PACKAGE.model > after[0]) | ((_PACKAGE.model == after[0]) & (newest < after[1])))
    found = {
        (row.model, row.version): VersionReport(
            model=row.model, version=row.version, newest=row[2], packages=[], deployments=[], fleets=[]
        )
        for row in connection.execute(select.limit(limit))
    }
    for name, version, package in _packages(connection, found):
        found[name, version]["packages"].append(package)
    _add_fleets(connection, found, _add_deployments(connection, found))
    return list(found.values())


def _packages(connection: sa.Connection, versions: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str, PackageFile]]:
    is_one = sa.tuple_(_PACKAGE.model, _PACKAGE.version).in_(list(versions)) & (_PACKAGE.status == MADE)
    for row in connection.execute(sa.select(PACKAGES).where(is_one).order_by(_PACKAGE.id.desc())):
        job = row.name if json.loads(row.request) else ""
        package = PackageFile(package=row.name, job=job, url=row.url, size=row.size, sha1=row.sha1, made=row.changed)
        yield row.model, row.version, package


def _add_deployments(
    connection: sa.Connection, found: Mapping[tuple[str, str], VersionReport]
) -> Mapping[int, Sequence[tuple[str, str]]]:
    """Adds the deployments of the versions; rollout -> the versions that it names."""
    files = [(package["url"], key) for key, report in found.items() for package in report["packages"]]
    said = versions(connection, {url for url, _ in files})  # a file that got another version later is that one
    by_url = {url: key for url, key in files if said[url] == key[1]}
    select = sa.select(ROLLOUTS.c.id, FLEETS.c.name, ROLLOUTS.c.name, ROLLOUTS.c.state, ROLLOUTS.c.definitions)
    select = select.join_from(ROLLOUTS, FLEETS).where(PUBLISHED).order_by(ROLLOUTS.c.id.desc()).limit(MOST_ROLLOUTS)
    named: dict[int, Sequence[tuple[str, str]]] = {}
    for number, fleet, name, state, definitions in connection.execute(select):
        keys = {by_url[each["url"]]: None for each in json.loads(definitions) if each.get("url") in by_url}
        for key in keys:
            deployment = NamingDeployment(fleet=fleet, deployment=name, state=state)
            found[key]["deployments"].append(deployment)
        if keys:
            named[number] = list(keys)
    return named


def _add_fleets(
    connection: sa.Connection,
    found: Mapping[tuple[str, str], VersionReport],
    named: Mapping[int, Sequence[tuple[str, str]]],
) -> None:
    counts: dict[tuple[str, str], dict[str, FleetVersion]] = {key: {} for key in found}

    def count_of(key: tuple[str, str], fleet: str) -> FleetVersion:
        return counts[key].setdefault(fleet, FleetVersion(fleet=fleet, wanted=0, running=0))

    for number, fleet, devices in _wanted(connection, named):
        for key in named[number]:
            count_of(key, fleet)["wanted"] += devices
    running = sa.select(_MODEL.name, _MODEL.version, FLEETS.c.name, _MODEL.devices)
    running = running.join_from(FLEET_MODELS, FLEETS, _MODEL.fleet == FLEETS.c.id)
    is_one = sa.tuple_(_MODEL.name, _MODEL.version).in_(list(found)) & (_MODEL.devices > 0)
    for name, version, fleet, devices in connection.execute(running.where(is_one)):
        count_of((name, version), fleet)["running"] = devices
    for key, report in found.items():
        report["fleets"] = sorted(
            counts[key].values(), key=lambda each: (-max(each["wanted"], each["running"]), each["fleet"])
        )


def _wanted(connection: sa.Connection, rollouts: Iterable[int]) -> Iterable[Any]:
    """(rollout, fleet, how many devices have it)"""
    devices = sa.func.sum(_COUNT.devices)
    select = (
        sa.select(_COUNT.rollout, FLEETS.c.name, devices)
        .join_from(ROLLOUT_COUNTS, ROLLOUTS)
        .join(FLEETS)
        .where(bulk.is_one(connection, _COUNT.rollout, rollouts), _COUNT.state.in_(HAVE_IT))
        .group_by(_COUNT.rollout, FLEETS.c.name)
        .having(devices > 0)
    )
    return connection.execute(select)


def unknown_versions(transaction: Transaction, limit: int) -> list[UnknownVersion]:
    """Those with the most devices first."""
    devices = sa.func.sum(_MODEL.devices)
    known = sa.select(_PACKAGE.model, _PACKAGE.version).where(_PACKAGE.status == MADE)
    select = (
        sa.select(_MODEL.name, _MODEL.version, devices, sa.func.count())
        .where(_MODEL.devices > 0, sa.tuple_(_MODEL.name, _MODEL.version).not_in(known))
        .group_by(_MODEL.name, _MODEL.version)
        .order_by(devices.desc(), _MODEL.name, _MODEL.version)
    )
    rows = transaction.connection.execute(select.limit(limit))
    return [UnknownVersion(name=row.name, version=row.version, devices=int(row[2]), fleets=row[3]) for row in rows]
