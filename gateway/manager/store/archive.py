"""The file of a backup: a tar archive of a SQLite database, the model files, and at its end what they must be.

Whichever engine a backup comes from, it has one form. A file in it whose size or SHA-1 is not what the manifest says is
never restored, and no name in it leads out of the folder that it is extracted into.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from gateway.errors import explain
from gateway.manager.errors import ManagerError
from gateway.manager.store import object_facts
from gateway.manager.store.object_facts import NONE, ObjectFacts
from gateway.manager.store.object_store import CHUNK, ObjectStore
from gateway.manager.store.store import FILE
from gateway.ownership import give, make_folders

MANIFEST = "backup.json"
OBJECTS = "objects"
MODEL = "model"
"""A file in the folder of a backup that is made: a model file on its way out of the database."""

_Seen = dict[str, dict[str, Any]]
"""Name in the archive -> size in bytes and SHA-1 in hex."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup has. `created`: Unix seconds; `models`: how many model files."""

    created: float
    devices: int
    models: int


def write(out: IO[bytes], folder: Path, objects: ObjectStore, devices: int, *, gzipped: bool) -> Backup:
    """The database in `folder`, which has so many devices, and the model files, into `out`. Raises OSError."""
    options: dict[str, Any] = {"mode": "w:gz", "compresslevel": 6} if gzipped else {"mode": "w:"}
    with tarfile.open(fileobj=out, **options) as tar:
        return _fill(tar, folder, objects, devices)


def extract(file: Path, folder: Path) -> Backup:
    """Writes its files into `folder`, each as the manifest says. Raises what `damage_explained` explains."""
    seen: _Seen = {}
    manifest: dict[str, Any] | None = None
    with tarfile.open(file, "r:*") as tar:
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
        return Backup(manifest["created"], manifest["devices"], _count_models(seen))


def _fill(tar: tarfile.TarFile, folder: Path, objects: ObjectStore, devices: int) -> Backup:
    """The model files come after the database: those that it names are there by then."""
    seen: _Seen = {FILE: _add(tar, FILE, folder / FILE)}
    if objects.shared is not None:
        for each in objects.shared.list_files():
            with (folder / MODEL).open("wb") as copy:
                objects.shared.copy(each, copy)
            name = f"{OBJECTS}/{each.bucket}/{each.key}"
            seen[name] = _add(tar, name, folder / MODEL)
            seen |= _add_facts(tar, each.bucket, each.key, folder / MODEL, each.facts)
    for bucket, key, path in objects.list_files():
        if (name := f"{OBJECTS}/{bucket}/{key}") not in seen:
            facts = objects.facts_of(bucket, key)
            if objects.shared is not None and facts.source:  # a copy of what is in the database no more
                continue
            seen[name] = _add(tar, name, path)
            seen |= _add_facts(tar, bucket, key, path, facts)
    backup = Backup(time.time(), devices, _count_models(seen))
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


def _add_facts(tar: tarfile.TarFile, bucket: str, key: str, path: Path, facts: ObjectFacts) -> _Seen:
    """What is known of the object beside its bytes, in the file that the directory has of it."""
    if replace(facts, source=0) == NONE:
        return {}
    status, name = path.stat(), f"{OBJECTS}/{object_facts.facts_name(bucket, key)}"
    entry = object_facts.entry(status.st_size, status.st_mtime, replace(facts, source=0))
    text = object_facts.entries_text(entry)
    tar.addfile(_member(name, len(text), status.st_mtime), io.BytesIO(text))
    return {name: {"size": len(text), "sha1": hashlib.sha1(text, usedforsecurity=False).hexdigest()}}


def _count_models(seen: _Seen) -> int:
    return sum(not name.startswith((f"{OBJECTS}/{object_facts.FOLDER}/", FILE)) for name in seen)


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


@contextlib.contextmanager
def damage_explained(file: Path) -> Iterator[None]:
    """ManagerError instead of whatever reading a damaged file raises."""
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
