"""Stores of the Edge Manager for tests: a file of SQLite, or a database of PostgreSQL that is the test's own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gateway.manager.store import Place, Store, open_store

ENGINES = ("sqlite", "postgresql")


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
