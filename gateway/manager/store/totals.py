"""What is reported of the whole database: devices, rollouts and models by fleet, and what is stored. It only reads.

Fleets are bounded: those with the most devices by their names, all others together as OTHER.
"""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from gateway.manager.history import unpack_samples
from gateway.manager.store.history import Usage, read_usage
from gateway.manager.store.transaction import Transaction

FLEETS_SHOWN = 200
MODELS_SHOWN = 100
OTHER = "other"
"""What stands for all fleets beyond FLEETS_SHOWN."""
OLDEST = 50
"""Rows of `recent_samples` of which the time of the oldest one is guessed: a single one may hold a backlog."""

_SHOWN = f"""
WITH sizes AS (SELECT fleet, sum(devices) AS devices FROM fleet_states GROUP BY fleet HAVING sum(devices) > 0),
places AS (SELECT fleet, row_number() OVER (ORDER BY devices DESC, fleet) AS place FROM sizes),
shown AS (
    SELECT fleet, CASE WHEN place <= {FLEETS_SHOWN} THEN fleets.name ELSE '{OTHER}' END AS shown_name
    FROM places JOIN fleets ON fleets.id = fleet
)
"""
_DEVICES = f"""{_SHOWN} SELECT shown_name, state, sum(devices) FROM fleet_states JOIN shown USING (fleet)
GROUP BY shown_name, state ORDER BY shown_name, state"""
_ROLLOUTS = f"""{_SHOWN} SELECT shown_name, state, count(*) FROM rollouts JOIN shown USING (fleet)
WHERE state <> 'preparing'
GROUP BY shown_name, state ORDER BY shown_name, state"""
_MODELS = f"""{_SHOWN} SELECT shown_name, name, version, sum(devices)
FROM fleet_models JOIN shown USING (fleet) GROUP BY shown_name, name, version
ORDER BY sum(devices) DESC, shown_name, name, version LIMIT {MODELS_SHOWN}"""
_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """`devices`, `rollouts`: by fleet and state. `models`: (fleet, model, version) -> how many devices run it, which is
    the version of that model with the latest times; the largest numbers. `lag`: seconds since the oldest heartbeat came
    that is not compacted; 0 where there is none. `history`: what is compacted; the limit is for its `size`.
    `database_bytes`: of the whole database.
    """

    devices: dict[tuple[str, str], int]
    rollouts: dict[tuple[str, str], int]
    models: dict[tuple[str, str, str], int]
    history: Usage
    recent_rows: int
    lag: float
    database_bytes: int


def read_totals(transaction: Transaction) -> Totals:
    """All as it is at one moment."""
    connection = transaction.connection
    return Totals(
        devices=_by_fleet(connection, _DEVICES),
        rollouts=_by_fleet(connection, _ROLLOUTS),
        models=_models(connection),
        history=sum(read_usage(connection).values(), Usage()),
        recent_rows=int(connection.exec_driver_sql("SELECT count(*) FROM recent_samples").scalar_one()),
        lag=_lag(connection, time.time()),
        database_bytes=int(connection.exec_driver_sql(_SIZE[connection.dialect.name]).scalar_one()),
    )


def _by_fleet(connection: sa.Connection, select: str) -> dict[tuple[str, str], int]:
    return {(fleet, state): int(count) for fleet, state, count in connection.exec_driver_sql(select)}


def _models(connection: sa.Connection) -> dict[tuple[str, str, str], int]:
    rows = connection.exec_driver_sql(_MODELS)
    return {(fleet, name, version): int(devices) for fleet, name, version, devices in rows}


def _lag(connection: sa.Connection, now: float) -> float:
    """No row says when it came. The newest sample of rows that came one after the other was measured just before."""
    rows = connection.exec_driver_sql(f"SELECT samples FROM recent_samples ORDER BY id LIMIT {OLDEST}").scalars()
    newest = max((at for samples in rows for _, at, _ in unpack_samples(bytes(samples))), default=None)
    return 0.0 if newest is None else max(now - newest / 1e6, 0.0)
