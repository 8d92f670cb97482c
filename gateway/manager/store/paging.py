"""Devices in the order of their names, page by page. A page costs the same wherever it is."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.store.tables import DEVICES, FLEETS


def device_page(
    connection: sa.Connection,
    select: sa.Select[Any],
    fleet: str | None,
    after: tuple[str, str],
    limit: int | None,
) -> list[Sequence[Any]]:
    """At most `limit` rows of a select from FLEETS and DEVICES: of `fleet`, or of all, those after (fleet, device)."""
    this = select.where(FLEETS.c.name == (fleet or after[0]), DEVICES.c.name > after[1])
    rows: list[Sequence[Any]] = list(connection.execute(this.order_by(DEVICES.c.name).limit(limit)))
    if fleet is None and (limit is None or len(rows) < limit):
        others = select.where(FLEETS.c.name > after[0]).order_by(FLEETS.c.name, DEVICES.c.name)
        rows += connection.execute(others.limit(None if limit is None else limit - len(rows)))
    return rows
