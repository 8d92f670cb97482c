"""Which objects deployments and plans name. They must stay: a device asks for them now, `undo` gives them again, or a
stage of a plan will give them. And which a package names: such an object may go, but not become another content."""

import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from gateway.manager.store import bulk
from gateway.manager.store.control_tables import MADE, PACKAGES, PLANS
from gateway.manager.store.tables import DEPLOYMENTS, ROLLOUTS
from gateway.manager.store.transaction import Transaction

_OPEN = ("running", "paused")
"""States of rollouts that reach further devices."""
PART = 5000
"""Names of packages of one statement."""


def named_objects(transaction: Transaction) -> set[str]:
    """The URLs that a deployment of a registered device names, in force or not, a rollout that goes on, or a deployment
    plan by its packages, until it is deleted.

    It reads all deployments: of a million it takes a second or two.
    """
    of_devices = sa.select(DEPLOYMENTS.c.definitions)
    of_rollouts = sa.select(ROLLOUTS.c.definitions).where(ROLLOUTS.c.state.in_(_OPEN))
    of_deployments = _urls(transaction.connection.scalars(sa.union(of_devices, of_rollouts)))
    return of_deployments.union(_planned(transaction.connection))


def is_package(transaction: Transaction, url: str) -> bool:
    """Whether a package that is made says what that object is."""
    select = sa.select(PACKAGES.c.id).where(PACKAGES.c.url == url, PACKAGES.c.status == MADE).limit(1)
    return transaction.connection.scalar(select) is not None


def _urls(texts: Iterable[str]) -> set[str]:
    return {each["url"] for text in texts for each in json.loads(text) if each.get("url") is not None}


def _planned(connection: sa.Connection) -> Iterator[str]:
    models = connection.scalars(sa.select(PLANS.c.models)).all()
    names = {each["EdgePackagingJobName"] for text in models for each in json.loads(text)}
    made = sa.select(PACKAGES.c.url).where(PACKAGES.c.status == MADE)
    for part in bulk.parts(sorted(names), PART):
        yield from connection.scalars(made.where(PACKAGES.c.name.in_(part)))
