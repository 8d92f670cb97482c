"""Which objects deployments and packages name. They must stay: a device asks for them now, `undo` gives them again, or
a plan will give what the package says of size and SHA-1."""

import json
from collections.abc import Iterable

import sqlalchemy as sa

from gateway.manager.store.control_tables import PACKAGES
from gateway.manager.store.tables import DEPLOYMENTS, ROLLOUTS
from gateway.manager.store.transaction import Transaction

_OPEN = ("running", "paused")
"""States of rollouts that reach further devices."""
_NO_PACKAGE = ("FAILED", "STOPPED")


def named_objects(transaction: Transaction) -> set[str]:
    """The URLs that a deployment of a registered device names, in force or not, a rollout that goes on, or a package
    that a packaging job made or makes. Of what `deploy` made a package, the deployment alone says how long it stays.

    It reads all deployments: of a million it takes a second or two.
    """
    of_devices = sa.select(DEPLOYMENTS.c.definitions)
    of_rollouts = sa.select(ROLLOUTS.c.definitions).where(ROLLOUTS.c.state.in_(_OPEN))
    packages = sa.select(PACKAGES.c.url).where(
        PACKAGES.c.url.is_not(None), PACKAGES.c.status.not_in(_NO_PACKAGE), PACKAGES.c.request != "{}"
    )
    of_deployments = _urls(transaction.connection.scalars(sa.union(of_devices, of_rollouts)))
    return of_deployments.union(transaction.connection.scalars(packages))


def _urls(texts: Iterable[str]) -> set[str]:
    return {each["url"] for text in texts for each in json.loads(text) if each.get("url") is not None}
