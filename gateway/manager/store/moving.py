"""A whole site in one file, out of it, or from one engine into the other: `backup`, `restore`, `migrate`.

Files appear whole or not at all. What is restored or moved goes into an empty place alone, and only after all of it was
checked. Model files go to where that engine has them.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from gateway.errors import explain
from gateway.lock import FILE as LOCK_FILE
from gateway.lock import FolderInUse, FolderLock
from gateway.manager.errors import ManagerError
from gateway.manager.place import Place
from gateway.manager.store import archive, formats
from gateway.manager.store import engine as engines
from gateway.manager.store.archive import OBJECTS, Backup
from gateway.manager.store.audit import local_auditor
from gateway.manager.store.copying import OnRows, copy_rows, count_rows, require_empty
from gateway.manager.store.object_store import ObjectStore
from gateway.manager.store.shared_objects import write_file
from gateway.manager.store.store import FILE, LOCK, Store, open_store
from gateway.manager.store.temporary import remove_abandoned, temporary
from gateway.ownership import give_folder

_RESTORING = ".restore-"
"""Beginning of a folder's name in the data directory that a restore fills, and moves its content out of."""
_ARCHIVE = "archive"
_MADE = {FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal", LOCK, _ARCHIVE, archive.MODEL}
"""What a backup makes in its temporary folder."""


def migrate_site(data: Path, url: str, on_start: OnRows, on_rows: OnRows) -> tuple[dict[str, int], int]:
    """Copies the database and the model files of the data directory into an empty database of PostgreSQL, in one
    transaction. How many rows both have then, by table; and how many files.

    `on_start` is called before with all rows of each table, and with the files as `objects`. Raises ManagerError.
    """
    with contextlib.ExitStack() as stack:
        if not (data / FILE).is_file():
            open_store(Place(data), create=False)  # raises what all commands do
        stack.enter_context(_not_served(data))
        source = stack.enter_context(contextlib.closing(open_store(Place(data), create=True)))
        target = stack.enter_context(contextlib.closing(open_store(Place(data, url), create=True)))
        stack.enter_context(_explained(target))
        reading = stack.enter_context(source.engine.begin())  # no command may change it meanwhile
        for table, rows in count_rows(reading).items():
            on_start(table, rows)
        on_start(OBJECTS, sum(1 for _ in ObjectStore(data).list_files()))
        with target.engine.begin() as writing, _files_explained(data):
            formats.lock(writing)
            copied = copy_rows(reading, writing, on_rows)
            files = _copy_files(data, writing, lambda: on_rows(OBJECTS, 1))
            _add_row(writing, "edge-manager:Migrate", {"Devices": copied["devices"], "Models": files})
            return copied, files


def write_backup(place: Place, file: Path, *, force: bool = False) -> Backup:
    """Writes the database and the model files into `file`, gzip where it is named so, while a `serve` uses them.

    All that was acknowledged before the call is in it. Raises ManagerError, also where the file is there and `force`
    is not given.
    """
    if file.exists() and not (force and file.is_file()):
        raise ManagerError(f"{file} exists: give another name" + ("" if file.is_dir() else ", or --force"))
    with _files_explained(file.parent), contextlib.ExitStack() as stack:
        prefix = f".{file.name}.backup-"
        left = (path for path in file.parent.iterdir() if path.name.startswith(prefix))
        remove_abandoned(left, _remove_folder)
        make = partial(tempfile.mkdtemp, prefix=prefix, dir=file.parent)
        folder = stack.enter_context(temporary(lambda: Path(make()), _remove_folder))
        store = stack.enter_context(contextlib.closing(open_store(place, create=False)))
        stack.enter_context(_explained(store))
        devices = _snapshot(store, folder / FILE)
        gzipped = file.name.endswith((".gz", ".tgz"))
        with (folder / _ARCHIVE).open("wb") as out:
            os.fchmod(out.fileno(), 0o600)  # it may have secrets of access keys
            backup = archive.write(out, folder, ObjectStore(place.data, store), devices, gzipped=gzipped)
            out.flush()
            os.fsync(out.fileno())
        (folder / _ARCHIVE).replace(file)
        _sync(file.parent)
    return backup


def restore_backup(file: Path, place: Place) -> Backup:
    """Puts a backup into an empty place: its database and its model files, after all of it was checked.

    Raises ManagerError, and leaves the place empty, where the backup is damaged or newer, or the place is not empty.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_files_explained(place.data))
        place.data.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_not_served(place.data))
        _require_empty_folder(place.data)
        target = None
        if place.url is not None:
            target = stack.enter_context(contextlib.closing(open_store(place, create=True)))
            with _explained(target), target.engine.begin() as connection:
                require_empty(connection)
        folder = Path(tempfile.mkdtemp(prefix=_RESTORING, dir=place.data))
        give_folder(folder)
        stack.callback(shutil.rmtree, folder)
        with archive.damage_explained(file):
            backup = archive.extract(file, folder)
            if _check(folder / FILE) != backup.devices:
                raise ValueError(f"{FILE} has not as many devices as were written")
        with contextlib.closing(open_store(Place(folder), create=True)) as source:  # in the newest format then
            with _explained(source), source.engine.begin() as connection:
                _add_row(
                    connection,
                    "edge-manager:Restore",
                    {"Created": backup.created, "Devices": backup.devices, "Models": backup.models},
                )
            if target is not None:
                with _explained(target), source.engine.begin() as reading, target.engine.begin() as writing:
                    formats.lock(writing)
                    copy_rows(reading, writing)
                    _copy_files(folder, writing)
        if target is None:
            _check(folder / FILE)
            _put_in_place(folder, place.data, OBJECTS, FILE)
    return backup


# -- the database --


def _copy_files(data: Path, writing: sa.Connection, on_file: Callable[[], None] = lambda: None) -> int:
    """The model files of that data directory into PostgreSQL, in the caller's transaction. How many there are."""
    count, objects = 0, ObjectStore(data)
    for bucket, key, path in objects.list_files():
        with path.open("rb") as file:
            modified, facts = os.fstat(file.fileno()).st_mtime, objects.facts_of(bucket, key)
            write_file(lambda work: work(writing), file, bucket, partial(_named, key), modified, facts)
        on_file()
        count += 1
    return count


def _add_row(connection: sa.Connection, action: str, content: Mapping[str, Any]) -> None:
    """Of the audit: what the whole database was made of."""
    local_auditor(action, time.time()).add(connection, [("database", None, content)])


def _named(key: str, sha1: str) -> str:
    return key


def _snapshot(source: Store, path: Path) -> int:
    """The database as it is at one moment, as the SQLite file `path`. How many devices it has."""
    if source.engine.dialect.name == "sqlite":
        with contextlib.closing(sqlite3.connect(path)) as copy, _raw(source) as connection:
            connection.backup(copy)
    else:
        reads = source.engine.execution_options(reads=True)
        with (
            contextlib.closing(open_store(Place(path.parent), create=True)) as target,
            reads.begin() as reading,
            target.engine.begin() as writing,
        ):
            copy_rows(reading, writing)
    return _check(path)


@contextlib.contextmanager
def _raw(store: Store) -> Iterator[sqlite3.Connection]:
    pooled = store.engine.raw_connection()
    try:
        yield pooled.driver_connection  # type: ignore[misc]
    finally:
        pooled.close()


def _check(path: Path) -> int:
    """How many devices it has; all of it is in that one file then, and on the disk. Raises ManagerError where it is
    damaged."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise ManagerError(f"the manager's database is damaged ({found[:200]}): put a copy in its place")
        devices: int = connection.execute("SELECT count(*) FROM devices").fetchone()[0]
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return devices


# -- folders, and what an operator is told --


@contextlib.contextmanager
def _not_served(data: Path) -> Iterator[None]:
    try:
        lock = FolderLock(data)
    except FolderInUse as holder:
        raise ManagerError(f"an Edge Manager serves {data} ({holder}): stop it first") from None
    with contextlib.closing(lock):
        yield


def _remove_folder(folder: Path) -> None:
    """Where it has anything that a backup does not make, it is no backup's."""
    if {path.name for path in folder.iterdir()} <= _MADE:
        shutil.rmtree(folder)


def _require_empty_folder(data: Path) -> None:
    """What a restore left that was killed is removed."""
    for path in data.iterdir():
        if path.name.startswith(_RESTORING):
            shutil.rmtree(path)
        elif path.name not in (LOCK_FILE, LOCK, "lost+found"):
            raise ManagerError(f"{data} is not empty: it has {path.name}; give an empty directory by --data")


def _put_in_place(folder: Path, data: Path, *names: str) -> None:
    """Moves them, on the disk. The last one makes it a place with data."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            _sync(path)
    for name in names:
        if (folder / name).exists():
            (folder / name).replace(data / name)
            _sync(data)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _files_explained(subject: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ManagerError(explain(error, error.filename or subject)) from error


@contextlib.contextmanager
def _explained(store: Store) -> Iterator[None]:
    """ManagerError instead of what a driver raises. `store`: the one that is not necessarily a SQLite file."""
    try:
        yield
    except sqlite3.Error as error:
        raise ManagerError(f"the manager's database: {explain(error)}") from error
    except DBAPIError as error:
        sqlite = isinstance(error.orig, sqlite3.Error)
        place = "the manager's database" if sqlite else engines.where(store.engine)
        raise ManagerError(f"{place}: {engines.reason(error)}{engines.advice(error)}") from error
