"""How much is kept of one device: names come from devices, and one that makes up names must not fill the disk.

The oldest go first. `heartbeats` applies it to each group.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

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


LOG_LIMIT = RowLimit("device_log", "log", "id", "id", 2000)
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

    def add(self, device: int, limit: RowLimit, rows: int, now: float) -> int:
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


def apply(connection: sa.Connection, devices: Mapping[RowLimit, Collection[int]]) -> list[tuple[RowLimit, int, int]]:
    """Deletes what is too much of those devices: (limit, device, how many rows), where there were some."""
    limits = [limit for limit in devices if devices[limit]]
    counts: list[str] = []
    parameters: list[Any] = []
    for number, limit in enumerate(limits):
        is_one, given = bulk.numbers(connection, devices[limit])
        count = f"SELECT {number} AS number, device, count(*) - {limit.most} AS rows FROM {limit.table}"
        counts.append(f"{count} WHERE device {is_one} GROUP BY device")
        parameters += given
    if not counts:
        return []
    counted = f"FROM ({' UNION ALL '.join(counts)}) AS counted WHERE rows > 0"
    over = [
        (limits[number], device, rows)
        for number, device, rows in bulk.fetch(connection, "number, device, rows", counted, tuple(parameters))
    ]
    for limit, device, rows in over:
        oldest = (
            f"SELECT {limit.key} FROM {limit.table} WHERE device = :device"
            f" ORDER BY {limit.order}, {limit.key} LIMIT :rows"
        )
        delete = f"DELETE FROM {limit.table} WHERE device = :device AND ({limit.key}) IN ({oldest})"
        connection.execute(sa.text(delete), {"device": device, "rows": rows})
    return over
