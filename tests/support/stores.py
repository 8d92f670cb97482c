"""Stores of the Edge Manager for tests: a file of SQLite, or a database of PostgreSQL that is the test's own."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.manager.errors import StoreUnavailable
from gateway.manager.history import decode, unpack_samples
from gateway.manager.store import Place, Store, Transaction, open_store
from gateway.manager.store.tables import RECENT_SAMPLES, SAMPLE_CHUNKS

ENGINES = ("sqlite", "postgresql")

T = TypeVar("T")


@contextmanager
def open_place(place: Place) -> Iterator[Store]:
    """An open store, made where there is none. A test may open several of one place: each is as one process."""
    with closing(open_store(place, create=True)) as store:
        yield store


@contextmanager
def sqlite_store(data: Path) -> Iterator[Store]:
    with open_place(Place(data)) as store:
        yield store


@contextmanager
def postgres_store(data: Path, url: str) -> Iterator[Store]:
    with open_place(Place(data, url)) as store:
        yield store


def patient(store: Store) -> Store:
    """The same store, whose `write` tries again where it waited in vain for another process, as the service does:
    SQLite has no queue, and who waits may be passed by others for longer than it waits."""
    write = store.write

    def write_again(work: Callable[[Transaction], T]) -> T:
        while True:
            try:
                return write(work)
            except StoreUnavailable:
                pass

    store.write = write_again  # type: ignore[method-assign]
    return store


def stored_samples(transaction: Transaction) -> dict[int, list[tuple[float, float]]]:
    """Device's number -> (Unix seconds, value) of its samples, compacted or not; as often as they are stored."""
    found: dict[int, list[tuple[float, float]]] = {}
    recent = sa.select(RECENT_SAMPLES.c.device, RECENT_SAMPLES.c.samples)
    for device, blob in transaction.connection.execute(recent):
        found.setdefault(device, []).extend((at / 1e6, value) for _, at, value in unpack_samples(blob))
    chunks = sa.select(SAMPLE_CHUNKS.c.device, SAMPLE_CHUNKS.c.samples)
    for device, blob in transaction.connection.execute(chunks):
        found.setdefault(device, []).extend((at / 1e6, value) for at, value in decode(blob))
    return found


def do_not_sync(connection: Any, *_: object) -> None:
    """For the event `checkout` of an engine of SQLite: a property test makes thousands of commits."""
    connection.execute("PRAGMA synchronous = OFF")
