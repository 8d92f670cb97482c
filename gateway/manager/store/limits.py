"""How much is kept of one device: names come from devices, and one that makes up names must not fill the disk.

The oldest go first. `heartbeats` applies it to each group.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import sqlalchemy as sa

from gateway.manager.store import bulk


@dataclass(frozen=True, slots=True)
class DeviceLimit:
    """The newest `most` of a device are kept."""

    what: str
    most: int


@dataclass(frozen=True, slots=True)
class RowLimit(DeviceLimit):
    """Of rows, by `order`; `key`: the columns that name a row beside the device."""

    table: str
    key: str
    order: str


METRICS, MODELS = DeviceLimit("metrics", 1000), DeviceLimit("models", 200)
RESULTS = RowLimit("results", 200, "results", "deployment", "received")
LOG = RowLimit("log", 2000, "device_log", "id", "id")
"""Results and changes of state come from devices too. Nothing is written about it: that would be entries again."""
REPORT_INTERVAL = 600.0
"""Seconds between two entries in a device's log about one limit: its calls may delete something each time."""
MOST_TOLD = 10_000
"""Devices about which that is known; then it is forgotten."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows of a device since `at`, when it was reported last."""

    rows: int
    at: float


class Deletions:
    """What one process has deleted, by device and limit, so that it is reported once in REPORT_INTERVAL."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Deleted] = {}

    def add(self, device: int, limit: DeviceLimit, rows: int, now: float) -> int:
        """How many rows are to be reported now; 0: not yet."""
        key = device, limit.what
        known = self._known.get(key)
        if known is not None and 0 <= now - known.at < REPORT_INTERVAL:
            self._known[key] = replace(known, rows=known.rows + rows)
            return 0
        if len(self._known) >= MOST_TOLD:
            self._known.clear()
        self._known[key] = Deleted(0, now)
        return rows + (0 if known is None else known.rows)


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
