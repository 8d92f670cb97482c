"""What names a model file, so that it must stay as it is."""

import json

import sqlalchemy as sa

from gateway.manager.store.control_tables import PACKAGES
from gateway.manager.store.tables import FLEETS, ROLLOUTS

_NO_PACKAGE = ("FAILED", "STOPPED")
_ENDED = ("stopped", "aborted", "completed")
"""States of rollouts that reach no further device."""


def names_object(connection: sa.Connection, url: str) -> str | None:
    """What names the object `url` (S3); None: nothing does.

    edge-packaging-job/J: a package that is made or being made; deployment F/D: one of fleet F that has not ended.
    """
    packages = sa.select(PACKAGES.c.name).where(PACKAGES.c.url == url, PACKAGES.c.status.not_in(_NO_PACKAGE))
    package = connection.scalar(packages.order_by(PACKAGES.c.id).limit(1))
    if package is not None:
        return f"edge-packaging-job/{package}"
    rollouts = (
        sa.select(FLEETS.c.name, ROLLOUTS.c.name, ROLLOUTS.c.definitions)
        .join_from(ROLLOUTS, FLEETS)
        .where(ROLLOUTS.c.state.not_in(_ENDED), ROLLOUTS.c.definitions.contains(json.dumps(url), autoescape=True))
    )
    for fleet, name, definitions in connection.execute(rollouts):
        if any(each["url"] == url for each in json.loads(definitions)):  # SQLite's LIKE takes A for a
            return f"deployment {fleet}/{name}"
    return None
