"""A whole site in one file, out of it, or from one engine into the other: `backup`, `restore`, `migrate`.

A backup is a tar archive: a SQLite database of one moment, whichever engine it comes from, the model files, and at its
end what they must be (sizes, SHA-1). Files appear whole or not at all. What is restored or moved goes into an empty
place alone, and only after all of it was checked. Model files go to where that engine has them.
"""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from gateway.errors import explain
from gateway.lock import FILE as LOCK_FILE
from gateway.lock import FolderInUse, FolderLock
from gateway.manager.errors import ManagerError
from gateway.manager.place import Place
from gateway.manager.store import engine as engines
from gateway.manager.store import formats
from gateway.manager.store.copying import OnRows, copy_rows, count_rows, require_empty
from gateway.manager.store.object_store import CHUNK, ObjectStore
from gateway.manager.store.shared_objects import write_file
from gateway.manager.store.store import FILE, LOCK, Store, open_store
from gateway.manager.store.temporary import remove_abandoned, temporary
from gateway.ownership import give, give_folder, make_folders

MANIFEST = "backup.json"
OBJECTS = "objects"
_RESTORING = ".restore-"
"""Beginning of a folder's name in the data directory that a restore fills, and moves its content out of."""
_ARCHIVE, _MODEL = "archive", "model"
_MADE = {FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal", LOCK, _ARCHIVE, _MODEL}
"""What a backup makes in its temporary folder."""

_Seen = dict[str, dict[str, Any]]
"""Name in the archive -> size in bytes and SHA-1 in hex."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup has. `created`: Unix seconds; `models`: how many model files."""

    created: float
    devices: int
    models: int


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
            return copied, _copy_files(data, writing, lambda: on_rows(OBJECTS, 1))


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
        archive = folder / _ARCHIVE
        gzipped = file.name.endswith((".gz", ".tgz"))
        options: dict[str, Any] = {"mode": "w:gz", "compresslevel": 6} if gzipped else {"mode": "w:"}
        with archive.open("wb") as out:
            with tarfile.open(fileobj=out, **options) as tar:
                backup = _fill(tar, folder, ObjectStore(place.data, store), devices)
            out.flush()
            os.fsync(out.fileno())
        archive.replace(file)
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
        backup = _extract(file, folder)
        with contextlib.closing(open_store(Place(folder), create=True)) as source:  # in the newest format then
            if target is not None:
                with _explained(target), source.engine.begin() as reading, target.engine.begin() as writing:
                    formats.lock(writing)
                    copy_rows(reading, writing)
                    _copy_files(folder, writing)
        if target is None:
            _check(folder / FILE)
            _put_in_place(folder, place.data, OBJECTS, FILE)
    return backup


# -- the archive --


def _fill(tar: tarfile.TarFile, folder: Path, objects: ObjectStore, devices: int) -> Backup:
    """The model files come after the database: those that it names are there by then."""
    seen: _Seen = {FILE: _add(tar, FILE, folder / FILE)}
    if objects.shared is not None:
        for each in objects.shared.list_files():
            with (folder / _MODEL).open("wb") as copy:
                objects.shared.copy(each, copy)
            name = f"{OBJECTS}/{each.bucket}/{each.key}"
            seen[name] = _add(tar, name, folder / _MODEL)
    for bucket, key, path in objects.list_files():
        if (name := f"{OBJECTS}/{bucket}/{key}") not in seen:
            seen[name] = _add(tar, name, path)
    backup = Backup(time.time(), devices, len(seen) - 1)
    text = json.dumps({"created": backup.created, "devices": devices, "files": seen}, indent=1).encode()
    with tempfile.TemporaryFile() as manifest:
        manifest.write(text)
        manifest.seek(0)
        tar.addfile(_member(MANIFEST, len(text), backup.created), manifest)
    return backup


def _member(name: str, size: int, modified: float) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, modified, 0o644
    return member


class _Hashing:
    """A file that is read once, and its SHA-1."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha1 = hashlib.sha1(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self.sha1.update(chunk)
        return chunk


def _add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        hashing = _Hashing(file)
        tar.addfile(_member(name, status.st_size, status.st_mtime), hashing)
    return {"size": status.st_size, "sha1": hashing.sha1.hexdigest()}


def _extract(file: Path, folder: Path) -> Backup:
    """Its files in `folder`, each as the manifest says. Raises ManagerError."""
    seen: _Seen = {}
    manifest: dict[str, Any] | None = None
    with _damaged(file), tarfile.open(file, "r:*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or not _is_ours(member.name):
                raise tarfile.TarError(f"a backup has no {member.name}")
            if member.name == MANIFEST:
                manifest = json.load(content)
            else:
                seen[member.name] = _write(folder / member.name, content, member.mtime)
        if manifest is None:
            raise tarfile.TarError("its end is missing")
        for name in seen.keys() | manifest["files"].keys() | {FILE}:
            if seen.get(name) != manifest["files"].get(name):
                raise tarfile.TarError(f"{name} is not what was written")
        if _check(folder / FILE) != manifest["devices"]:
            raise tarfile.TarError(f"{FILE} has not as many devices as were written")
        return Backup(manifest["created"], manifest["devices"], len(seen) - 1)


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    if parts[0] == OBJECTS:
        return len(parts) > 2 and not {"", ".", ".."} & set(parts)
    return name in (FILE, MANIFEST)


def _write(path: Path, content: IO[bytes], modified: float) -> dict[str, Any]:
    hashing, size = _Hashing(content), 0
    make_folders(path.parent)
    with path.open("wb") as out:
        os.fchmod(out.fileno(), 0o644)
        give(out.fileno(), path.parent)
        while chunk := hashing.read(CHUNK):
            size += out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    os.utime(path, (modified, modified))
    return {"size": size, "sha1": hashing.sha1.hexdigest()}


# -- the database --


def _copy_files(data: Path, writing: sa.Connection, on_file: Callable[[], None] = lambda: None) -> int:
    """The model files of that data directory into PostgreSQL, in the caller's transaction. How many there are."""
    count = 0
    for bucket, key, path in ObjectStore(data).list_files():
        with path.open("rb") as file:
            modified = os.fstat(file.fileno()).st_mtime
            write_file(lambda work: work(writing), file, bucket, partial(_named, key), modified)
        on_file()
        count += 1
    return count


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


@contextlib.contextmanager
def _damaged(file: Path) -> Iterator[None]:
    try:
        yield
    except (
        tarfile.TarError,
        sqlite3.Error,
        zlib.error,
        gzip.BadGzipFile,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise ManagerError(f"{file} is damaged, or no backup ({explain(error)}): give another one") from error
