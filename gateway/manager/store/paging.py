"""Devices in the order of their names, page by page. A page costs the same wherever it is.

PostgreSQL reads and sorts all devices of the fleets that a statement joins: so it is given the numbers of fleets, one,
or several that together have few devices.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from gateway.manager.store.tables import DEVICES, FLEET_STATES, FLEETS

FEW = 500
"""Devices that several fleets of one statement have together at most; and fleets that are read at once."""


def is_of(fleet: str) -> sa.ColumnElement[bool]:
    """Whether a row of DEVICES is of the fleet of that name."""
    return DEVICES.c.fleet == sa.select(FLEETS.c.id).where(FLEETS.c.name == fleet).scalar_subquery()


def device_page(
    connection: sa.Connection,
    select: sa.Select[Any],
    fleet: str | None,
    after: tuple[str, str],
    limit: int | None,
) -> list[Sequence[Any]]:
    """At most `limit` rows of a select from FLEETS and DEVICES: of `fleet`, or of all, those after (fleet, device)."""
    this = select.where(is_of(fleet or after[0]), DEVICES.c.name > after[1])
    rows: list[Sequence[Any]] = list(connection.execute(this.order_by(DEVICES.c.name).limit(limit)))
    for numbers in _fleets_after(connection, after[0]) if fleet is None else ():
        left = None if limit is None else limit - len(rows)
        if left == 0:
            break
        one = len(numbers) == 1
        some = select.where(DEVICES.c.fleet == numbers[0] if one else DEVICES.c.fleet.in_(numbers))
        order = (DEVICES.c.name,) if one else (FLEETS.c.name, DEVICES.c.name)
        rows += connection.execute(some.order_by(*order).limit(left))
    return rows


def _fleets_after(connection: sa.Connection, name: str) -> Iterator[list[int]]:
    """The numbers of the fleets after that name which have devices, in the order of their names."""
    devices = sa.func.sum(FLEET_STATES.c.devices)
    joined = sa.select(FLEETS.c.id, FLEETS.c.name, devices).join(FLEET_STATES, FLEET_STATES.c.fleet == FLEETS.c.id)
    sizes = joined.group_by(FLEETS.c.id, FLEETS.c.name).having(devices > 0).order_by(FLEETS.c.name).limit(FEW)
    numbers: list[int] = []
    total = 0
    while found := connection.execute(sizes.where(FLEETS.c.name > name)).all():
        name = found[-1][1]
        for number, _, size in found:
            if numbers and total + size > FEW:
                yield numbers
                numbers, total = [], 0
            numbers.append(number)
            total += size
    if numbers:
        yield numbers
