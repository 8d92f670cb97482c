"""Devices that fell silent, found by a scan of the stored states: no index may have what each heartbeat changes."""

import sqlalchemy as sa

from gateway.manager.api import to_us
from gateway.manager.store import bulk
from gateway.manager.store.heartbeats import STATE_COLUMNS, add_devices, add_log, state_from
from gateway.manager.store.recording import LogEntry, state_entry
from gateway.manager.store.store import Store
from gateway.manager.store.tables import DEVICE_STATES

MOST = 500
"""Devices of one transaction."""
_SET = "(device) DO UPDATE SET state = excluded.state, due = excluded.due"


def sweep_silence(store: Store, now: float) -> bool:
    """Stores the state of devices that are silent at `now`; True: there may be more."""
    devices = store.read(lambda transaction: _overdue(transaction.connection, now))
    if devices:
        store.write(lambda transaction: _store_silence(transaction.connection, devices, now))
    return len(devices) == MOST


def _overdue(connection: sa.Connection, now: float) -> list[int]:
    select = sa.select(DEVICE_STATES.c.device).where(DEVICE_STATES.c.due < to_us(now)).limit(MOST)
    return list(connection.scalars(select))


def _store_silence(connection: sa.Connection, devices: list[int], now: float) -> None:
    """Of those that are silent still."""
    is_one, parameters = bulk.numbers(connection, devices)
    rest = f"FROM device_states WHERE device {is_one}"
    if connection.dialect.name == "postgresql":
        rest += " ORDER BY device FOR UPDATE"
    rows: list[tuple[int, int, str, None]] = []
    entries: list[LogEntry] = []
    moved: dict[tuple[int, str], int] = {}
    for device, fleet, judged, *row in bulk.fetch(connection, f"device, fleet, {STATE_COLUMNS}", rest, parameters):
        found = state_from(*row).liveness(now).state
        if found != judged:
            entries.append(state_entry(device, now, judged, found))
            moved[fleet, judged] = moved.get((fleet, judged), 0) - 1
            moved[fleet, found] = moved.get((fleet, found), 0) + 1
            rows.append((device, fleet, found, None))
    bulk.insert(connection, DEVICE_STATES, ("device", "fleet", "state", "due"), rows, _SET)
    add_log(connection, entries)
    add_devices(connection, moved)
