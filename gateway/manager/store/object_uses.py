"""Which objects deployments name. They must stay: a device asks for them now, or `undo` gives them again."""

import json
from collections.abc import Iterable

import sqlalchemy as sa

from gateway.manager.store.tables import DEPLOYMENTS, ROLLOUTS
from gateway.manager.store.transaction import Transaction

_OPEN = ("running", "paused")
"""States of rollouts that reach further devices."""


def named_objects(transaction: Transaction) -> set[str]:
    """The URLs that a deployment of a registered device names, in force or not, or a rollout that goes on.

    It reads all deployments: of a million it takes a second or two.
    """
    of_devices = sa.select(DEPLOYMENTS.c.definitions)
    of_rollouts = sa.select(ROLLOUTS.c.definitions).where(ROLLOUTS.c.state.in_(_OPEN))
    return _urls(transaction.connection.scalars(sa.union(of_devices, of_rollouts)))


def _urls(texts: Iterable[str]) -> set[str]:
    return {each["url"] for text in texts for each in json.loads(text) if each.get("url") is not None}
