"""The numbers of metric names, kept by a process that writes. Another process may add names, and delete unused ones."""

from collections.abc import Iterable

import sqlalchemy as sa

from gateway.manager.api import MetricKey
from gateway.manager.store import bulk, tables

MOST = 50_000
"""So many are kept; then all are forgotten, and read again as they come."""
PART = 1000
"""Names of one statement."""


def read_keys(connection: sa.Connection, numbers: Iterable[int]) -> dict[int, MetricKey]:
    """Number -> name, of those that there are."""
    is_one, parameters = bulk.numbers(connection, numbers)
    rest = f"FROM metric_names WHERE id {is_one}"
    found = bulk.fetch(connection, "id, model, version, dimension, name", rest, parameters)
    return {number: MetricKey(*members) for number, *members in found}


class MetricNames:
    """Of one database, for the one thread that writes to it."""

    def __init__(self) -> None:
        self._numbers: dict[MetricKey, int] = {}

    def forget(self) -> None:
        """After a transaction that was rolled back: what it had added is not there."""
        self._numbers.clear()

    def numbers(self, connection: sa.Connection, keys: Iterable[MetricKey]) -> dict[MetricKey, int]:
        """The number of each, in the caller's transaction; new names are added."""
        missing = [key for key in keys if key not in self._numbers]
        if missing:
            if len(self._numbers) + len(missing) > MOST:
                self._numbers.clear()
                missing = list(keys)
            self._add(connection, missing)
        return self._numbers

    def _add(self, connection: sa.Connection, keys: list[MetricKey]) -> None:
        """In one order, so that two processes that add the same names never wait in a circle."""
        keys.sort(key=lambda key: (key.model, key.version, key.dimension, key.name))
        rows = [(key.model, key.version, key.dimension, key.name) for key in keys]
        self._read(connection, keys)
        new = [row for key, row in zip(keys, rows, strict=True) if key not in self._numbers]
        if new:
            columns = ("model", "version", "dimension", "name")
            bulk.insert(connection, tables.METRIC_NAMES, columns, new, "DO NOTHING")
            self._read(connection, keys)

    def _read(self, connection: sa.Connection, keys: list[MetricKey]) -> None:
        table = tables.METRIC_NAMES
        for part in bulk.parts(keys, PART):
            named = sa.tuple_(table.c.model, table.c.version, table.c.dimension, table.c.name).in_(
                [(key.model, key.version, key.dimension, key.name) for key in part]
            )
            for number, *members in connection.execute(sa.select(table).where(named)):
                self._numbers[MetricKey(*members)] = number
