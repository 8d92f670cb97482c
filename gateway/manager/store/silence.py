"""Devices that fell silent, found by a scan of the stored states: no index may have what each heartbeat changes."""

import sqlalchemy as sa

from gateway.manager.api import LEAST_TOLERANCE, TOLERANCE, State, to_us
from gateway.manager.store import bulk
from gateway.manager.store.heartbeats import STATE_COLUMNS, add_devices, add_log, state_from
from gateway.manager.store.recording import LogEntry, state_entry
from gateway.manager.store.store import Store
from gateway.manager.store.tables import DEVICE_STATES, DEVICES

MOST = 500
"""Devices of one transaction."""
_SET = "(device) DO UPDATE SET state = excluded.state, due = excluded.due"


def expected_until() -> sa.ColumnElement[int]:
    """Until when each device of `device_states` is no more than late, in microseconds: as `DeviceRecord.due`.

    Of one that did not say when it is back, or is gone: when it was last heard; never heard: when it was registered.
    """
    seen, newest, seconds = DEVICE_STATES.c.announced_at, DEVICE_STATES.c.newest, DEVICE_STATES.c.seconds
    registered = sa.cast(DEVICES.c.registered * 1_000_000, sa.BigInteger)
    holds = DEVICE_STATES.c.accepted <= DEVICE_STATES.c.heartbeats  # no heartbeat came later
    asleep = holds & (DEVICE_STATES.c.announced == State.ASLEEP)
    first = sa.func.coalesce(seen, newest, registered)
    heard = sa.case((asleep | newest.is_(None) | (seen > newest), first), else_=newest)
    share = sa.cast(seconds * TOLERANCE, sa.BigInteger)
    least = to_us(LEAST_TOLERANCE)
    late = sa.case((share > least, share), else_=least)
    said = seconds.is_not(None) & sa.not_(holds & (DEVICE_STATES.c.announced == State.GONE))
    return heard + sa.case((said, seconds + late), else_=0)


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
