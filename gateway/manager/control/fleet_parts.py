"""Reads all devices of a fleet, however many: in small transactions, with rests between them. It must never write.

Whoever works through a million devices at once would keep heartbeats waiting, and a transaction in PostgreSQL that
takes that long is ended.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from gateway.manager.store import Store

PART = 2000
"""Devices of one transaction."""

T = TypeVar("T")


def fleet_parts(store: Store, fleet: str, names: Collection[str] | None = None) -> Iterator[Sequence[tuple[str, int]]]:
    """(name, id) of the fleet's devices, of all or of those names, each part as it is at one moment."""
    if names is not None:
        yield list(store.read(lambda transaction: transaction.device_ids(fleet, names)).items())
        return
    yield from with_rests(_parts(store, fleet))


def _parts(store: Store, fleet: str) -> Iterator[Sequence[tuple[str, int]]]:
    after = ""
    while True:
        part = store.read(lambda transaction: transaction.device_part(fleet, after, PART))  # noqa: B023  (called at once)
        yield part
        if len(part) < PART:
            return
        after, _ = part[-1]


def with_rests(parts: Iterable[T]) -> Iterator[T]:
    """The parts; before the next one it rests for as long as this thread computed for the last one."""
    begun = time.thread_time()
    for part in parts:
        yield part
        time.sleep(time.thread_time() - begun)
        begun = time.thread_time()
