"""Model files: a directory of bucket/key that is served as an object store. Of HTTP it uses only the errors of S3.

A file appears whole or not at all (temporary file, fsync, rename). No bucket and no key may lead out of the directory.
A file that an operator put there by hand is served too. With PostgreSQL files are stored in the database, and the
directory has copies of those that were asked for.
"""

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from gateway.errors import explain
from gateway.manager.errors import ManagerError, no_such_bucket, no_such_key
from gateway.manager.store.shared_objects import SharedObjects
from gateway.manager.store.store import Store
from gateway.manager.store.temporary import remove_abandoned, temporary
from gateway.ownership import give, make_folders

BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
"""S3's rule for the names of buckets; it excludes a leading dot, which our temporary directory has."""
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
CHUNK = 256 * 1024
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store. `size` in bytes, `sha1` as 40 hex digits."""

    url: str
    size: int
    sha1: str


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object being read. `etag`: the quoted MD5, as S3 has it for an object put in one piece; `modified`: Unix s."""

    file: BufferedReader
    size: int
    etag: str
    modified: float

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end` (exclusive), in any thread."""
        return os.pread(self.file.fileno(), end - start, start)

    def close(self) -> None:
        self.file.close()


def check_readable(source: Path) -> None:
    """Raises ManagerError where the file cannot be opened. A pipe is not opened: to close it ends its writer."""
    try:
        if not source.is_fifo():
            source.open("rb").close()
    except OSError as error:
        raise ManagerError(explain(error)) from error


class ObjectStore:
    """The model files of the data directory `data`, whose directory, `root`, is made where a file is put into it.

    `shared`: those of the database, where `store` is one of PostgreSQL; else None.
    """

    def __init__(self, data: Path, store: Store | None = None) -> None:
        self.root = data / "objects"
        is_shared = store is not None and store.engine.dialect.name == "postgresql"
        self.shared = SharedObjects(store) if store is not None and is_shared else None
        self._etags: dict[tuple[int, int, int, int], str] = {}

    def put_file(self, source: Path, bucket: str, handle: str) -> StoredFile:
        """Copies `source` to a key made of `handle` and its content, into the database where files are shared: what a
        URL names never changes.

        Raises ManagerError where S3 allows no bucket of that name, or the file cannot be read, is empty or not written.
        """
        if not BUCKET.fullmatch(bucket):
            raise ManagerError(
                f"--bucket '{bucket}' is not a bucket name: 3 to 63 lower-case letters, digits, dots, hyphens"
            )
        suffix = source.suffix if SUFFIX.fullmatch(source.suffix) else ""

        def name(sha1: str) -> str:
            return f"{handle}/{sha1[:16]}{suffix}"

        try:
            with source.open("rb") as model:
                if not model.peek(1):
                    raise ManagerError(f"{source} is empty: a model file is expected")
                if self.shared is not None:
                    key, size, sha1 = self.shared.put(model, bucket, name, time.time())
                else:
                    with self._incoming() as path, path.open("wb") as copy:
                        size, sha1 = _copy(model, copy)
                        key = name(sha1)
                        _rename(path, self.root / bucket / key)
        except OSError as error:
            raise ManagerError(explain(error, error.filename or self.root)) from error
        return StoredFile(f"s3://{bucket}/{key}", size, sha1)

    def fetch(self, bucket: str, key: str) -> bool:
        """Copies a file from the database into the directory; false where it is not in one. It may take as long as the
        file is large. Raises StoreUnavailable, and OSError where it cannot be written."""
        if self.shared is None or not _is_safe(bucket, key):
            return False
        found = self.shared.find(bucket, key)
        if found is None:
            return False
        with self._incoming() as path, path.open("wb") as copy:
            self.shared.copy(found, copy)
            _rename(path, self.root / bucket / key)
        return True

    @contextmanager
    def _incoming(self) -> Iterator[Path]:
        """A temporary file, which everybody may read."""
        incoming = self.root / ".incoming"
        make_folders(incoming)
        remove_abandoned(incoming.iterdir(), Path.unlink)
        with temporary(lambda: _make_file(incoming), Path.unlink) as path:
            yield path

    def list_files(self) -> Iterator[tuple[str, str, Path]]:
        """Bucket, key and path of each file in the directory that `open` may open, in their order."""
        root = self.root.resolve()
        for path in sorted(self.root.rglob("*")):
            bucket, *names = path.relative_to(self.root).parts
            if names and path.is_file() and path.resolve().is_relative_to(root) and _is_safe(bucket, "/".join(names)):
                yield bucket, "/".join(names), path

    def open(self, bucket: str, key: str) -> OpenObject:
        """A file of the directory as it is now, even if it is replaced meanwhile; the caller closes it.

        Raises S3Error: 404. Where files are shared, `fetch` may get it.
        """
        file = self.open_file(bucket, key)
        status = os.fstat(file.fileno())
        return OpenObject(file, status.st_size, self._etag(file, status), status.st_mtime)

    def open_file(self, bucket: str, key: str) -> BufferedReader:
        """As `open`, without an ETag, for which a file may have to be read wholly."""
        path = self._locate(bucket, key)
        try:
            return path.open("rb")
        except OSError as error:
            raise no_such_key(key) from error

    def _locate(self, bucket: str, key: str) -> Path:
        if not BUCKET.fullmatch(bucket) or not (self.root / bucket).is_dir():
            raise no_such_bucket(bucket)
        if not _is_safe(bucket, key):
            raise no_such_key(key)
        path = self.root / bucket / key
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except (OSError, ValueError) as error:
            raise no_such_key(key) from error
        # A symbolic link that an operator made must not lead out either.
        if not regular or not path.resolve().is_relative_to(self.root.resolve()):
            raise no_such_key(key)
        return path

    def _etag(self, file: BufferedReader, status: os.stat_result) -> str:
        """Computed once for each state of a file."""
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        etag = self._etags.get(state)
        if etag is None:
            etag = f'"{hashlib.file_digest(file, _md5).hexdigest()}"'
            self._etags[state] = etag
        return etag


def _is_safe(bucket: str, key: str) -> bool:
    """Whether they name something below the directory, in UTF-8."""
    if not BUCKET.fullmatch(bucket) or "\0" in key or any(each in ("", ".", "..") for each in key.split("/")):
        return False
    return not any("\ud800" <= character <= "\udfff" for character in key)


def _make_file(folder: Path) -> Path:
    descriptor, name = tempfile.mkstemp(dir=folder)
    with open(descriptor, "wb") as made:
        os.fchmod(made.fileno(), 0o644)
        give(made.fileno(), folder)
    return Path(name)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _copy(model: BinaryIO, copy: BinaryIO) -> tuple[int, str]:
    """The size in bytes and the SHA-1 of what is on the disk afterwards."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    while chunk := model.read(CHUNK):
        sha1.update(chunk)
        copy.write(chunk)
    copy.flush()
    os.fsync(copy.fileno())
    return copy.tell(), sha1.hexdigest()


def _rename(temporary: Path, target: Path) -> None:
    """Durable: the directory is synchronised too."""
    make_folders(target.parent)
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
