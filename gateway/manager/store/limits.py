"""How much is kept of one device: names come from devices, and one that makes up names must not fill the disk.

The oldest go first. `heartbeats` applies it to each group.
"""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.manager.store import bulk


@dataclass(frozen=True, slots=True)
class RowLimit:
    """The newest `most` rows of a device are kept, by `order`; `key`: the columns that name a row beside the device."""

    table: str
    what: str
    key: str
    order: str
    most: int


MOST_METRICS = 1000
LIMITS = (
    RowLimit("latest", "metrics", "metric", "at", MOST_METRICS),
    RowLimit("models", "models", "name, version", "coalesce(sample, inference, 0)", 200),
    RowLimit("results", "results", "deployment", "received", 200),
)


def apply(connection: sa.Connection, limit: RowLimit, devices: Collection[int]) -> dict[int, int]:
    """Deletes what is too much of those devices. Device -> how many rows, where there were some."""
    is_one, parameters = bulk.numbers(connection, devices)
    columns = "device, count(*)"
    counted = f"(SELECT {columns} AS rows FROM {limit.table} WHERE device {is_one} GROUP BY device) AS counted"
    over = bulk.fetch(connection, "device, rows", f"FROM {counted} WHERE rows > {limit.most}", parameters)
    for device, rows in over:
        oldest = (
            f"SELECT {limit.key} FROM {limit.table} WHERE device = :device"
            f" ORDER BY {limit.order}, {limit.key} LIMIT :rows"
        )
        delete = f"DELETE FROM {limit.table} WHERE device = :device AND ({limit.key}) IN ({oldest})"
        connection.execute(sa.text(delete), {"device": device, "rows": rows - limit.most})
    return {device: rows - limit.most for device, rows in over}
