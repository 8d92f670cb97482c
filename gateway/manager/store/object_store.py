"""Model files: a directory of bucket/key that is served as an object store. Of HTTP it uses only the errors of S3.

A file appears whole or not at all (temporary file, fsync, rename). No bucket and no key may lead out of the directory.
A file that an operator put there by hand is served too. With PostgreSQL files are stored in the database, and the
directory has copies of those that were asked for. A bucket that begins with a dot is none of a caller.
"""

import hashlib
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from gateway.errors import explain
from gateway.manager.errors import ManagerError, S3Error, no_such_bucket, no_such_key
from gateway.manager.store import object_facts
from gateway.manager.store.audit import Auditor, ResourceState
from gateway.manager.store.object_audit import (
    DirectoryAudit,
    ObjectChange,
    bucket_state,
    object_resource,
    object_state,
)
from gateway.manager.store.object_facts import NONE, ObjectFacts
from gateway.manager.store.object_uses import is_package, named_objects
from gateway.manager.store.shared_objects import (
    BUCKETS,
    PieceWriter,
    RowCheck,
    SharedFile,
    SharedObjects,
    find_file,
    other_key_in_the_way,
)
from gateway.manager.store.store import Store
from gateway.manager.store.temporary import remove_abandoned, temporary
from gateway.ownership import give, make_folders

BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
"""S3's rule for the names of buckets; it excludes a leading dot, which our temporary directory has."""
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
CHUNK = 256 * 1024
"""Bytes that are read at once."""
ATTEMPTS = 5
MODELS = "models"
"""The bucket that `deploy` takes: its first object makes it."""
NO_KEY = "A key here has parts between slashes, none of them empty, '.', '..' or longer than 255 bytes, in UTF-8."
NAMED = "A deployment, a plan or a package names this object, so it stays as it is: put another content elsewhere."
NO_CONTENT = "is not in the model store any more"
OTHER_CONTENT = "is another file now"
MOST_ETAGS = 10_000
"""So many that were computed are kept."""


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
    facts: ObjectFacts = NONE

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end` (exclusive), in any thread."""
        return os.pread(self.file.fileno(), end - start, start)

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of a bucket. `etag`: quoted; `modified`: Unix seconds."""

    key: str
    size: int
    modified: float
    etag: str
    facts: ObjectFacts = field(default=NONE, repr=False)


ReplaceCheck = Callable[[ObjectEntry | None], None]
"""Called with the object as it is, before another one replaces it: raises S3Error where that must not be."""


def check_readable(source: Path) -> None:
    """Raises ManagerError where the file cannot be opened. A pipe is not opened: to close it ends its writer."""
    try:
        if not source.is_fifo():
            source.open("rb").close()
    except OSError as error:
        raise ManagerError(explain(error)) from error


def object_key(handle: str, sha1: str, source: Path) -> str:
    """Of a model file: whatever its name was, the same content has the same key."""
    suffix = source.suffix if SUFFIX.fullmatch(source.suffix) else ""
    return f"{handle}/{sha1[:16]}{suffix}"


def is_bucket_name(name: str) -> bool:
    return BUCKET.fullmatch(name) is not None


def require_bucket_name(name: str) -> None:
    """Raises ManagerError."""
    if not is_bucket_name(name):
        raise ManagerError(f"--bucket '{name}' is not a bucket name: 3 to 63 lower-case letters, digits, dots, hyphens")


class ObjectStore:
    """The model files of the data directory `data`, whose directory, `root`, is made where a file is put into it.

    `shared`: those of the database, where `store` is one of PostgreSQL; else None. Of whatever an `auditor` is given
    for, the audit has a row: in the transaction of the change, or before it (`object_audit`).
    """

    def __init__(self, data: Path, store: Store | None = None) -> None:
        self.root = data / "objects"
        is_shared = store is not None and store.engine.dialect.name == "postgresql"
        self.shared = SharedObjects(store) if store is not None and is_shared else None
        self._store = store
        self._etags: dict[tuple[int, int, int, int], str] = {}
        self._changing = threading.Lock()
        """Objects of the directory change one at a time."""
        has_own = store is not None and not is_shared
        self._audit = DirectoryAudit(store, self._state_of) if store is not None and has_own else None

    def put_file(self, source: Path, bucket: str, handle: str) -> StoredFile:
        """Copies `source` to a key made of `handle` and its content, into the database where files are shared: what a
        URL names never changes.

        Raises ManagerError where S3 allows no bucket of that name, or the file cannot be read, is empty or not written.
        """
        require_bucket_name(bucket)

        def name(sha1: str) -> str:
            return object_key(handle, sha1, source)

        try:
            with source.open("rb") as model:
                if not model.peek(1):
                    raise ManagerError(f"{source} is empty: a model file is expected")
                if self.shared is not None:
                    key, size, sha1 = self.shared.put(model, bucket, name, time.time())
                else:
                    with self.incoming() as path, path.open("wb") as copy:
                        size, sha1 = _copy(model, copy)
                        key = name(sha1)
                        _rename(path, self.root / bucket / key, self.root)
        except OSError as error:
            raise ManagerError(explain(error, error.filename or self.root)) from error
        return StoredFile(f"s3://{bucket}/{key}", size, sha1)

    def stored_file(self, bucket: str, key: str) -> StoredFile:
        """An object as a deployment names it; it is read where its SHA-1 is not known. Raises S3Error: 404."""
        if self.shared is not None:
            row = self.shared.find(bucket, key)
            if row is not None and is_bucket_name(bucket):
                return StoredFile(f"s3://{bucket}/{key}", row.size, row.sha1)
        opened = self.open(bucket, key)
        with opened.file as file:
            file.seek(0)  # its ETag may have been computed
            sha1 = _sha1_of(file)
        return StoredFile(f"s3://{bucket}/{key}", opened.size, sha1)

    def fault_of(self, connection: sa.Connection, file: StoredFile, since: float) -> str:
        """Why a device would not get that file: what goes on after its URL; empty: it is there.

        Its SHA-1 is computed where only that can say it: it is a file of the directory that is newer than `since`
        (Unix seconds). With PostgreSQL by the caller's transaction.
        """
        bucket, _, key = file.url.removeprefix("s3://").partition("/")
        row = None if self.shared is None else find_file(connection, bucket, key)
        if row is not None:
            return "" if (row.size, row.sha1) == (file.size, file.sha1) else OTHER_CONTENT
        try:
            opened = self.open_file(bucket, key)
        except S3Error:
            return NO_CONTENT
        with opened:
            status = os.fstat(opened.fileno())
            if self._facts(bucket, key, status).source:  # a copy of what the database has no more
                return NO_CONTENT
            is_it = status.st_size == file.size and (status.st_mtime <= since or _sha1_of(opened) == file.sha1)
        return "" if is_it else OTHER_CONTENT

    def fetch(self, bucket: str, key: str) -> bool:
        """Makes the copy in the directory the file that the database has; false where it is not in one, and there is no
        copy then. It may take as long as the file is large. Raises StoreUnavailable, and OSError where it cannot be
        written."""
        if self.shared is None or not _is_safe(bucket, key):
            return False
        found = self.shared.find(bucket, key)
        path = self.root / bucket / key
        copied = self._facts(bucket, key, _status(path)).source
        if found is not None and copied == found.id:
            return True
        if copied or (found is not None and path.is_file()):
            with self._changing:
                self._remove(bucket, [key])  # so that nobody is given it while the other one is copied
        if found is None:
            return False
        with self.incoming() as copy:
            with copy.open("wb") as file:
                self.shared.copy(found, file)
            try:
                self._put_copy_in_place(copy, bucket, key, found.facts)
            except S3Error:  # copies of what is in the database no more are in the way
                for name in (*_above(key), *[name for name, _ in self._walk(bucket, f"{key}/")]):
                    self.fetch(bucket, name)
                self._put_copy_in_place(copy, bucket, key, found.facts)
        return True

    def _put_copy_in_place(self, path: Path, bucket: str, key: str, facts: ObjectFacts) -> None:
        with self._changing:
            self._put_in_place(path, bucket, key, facts, nullcontext())

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A temporary file, which everybody may read."""
        incoming = self.root / ".incoming"
        make_folders(incoming)
        remove_abandoned(incoming.iterdir(), Path.unlink)
        with temporary(lambda: _make_file(incoming), Path.unlink) as path:
            yield path

    def remove_abandoned(self) -> None:
        """Temporary files of processes that were killed."""
        with suppress(FileNotFoundError):
            remove_abandoned((self.root / ".incoming").iterdir(), Path.unlink)

    def list_files(self) -> Iterator[tuple[str, str, Path]]:
        """Bucket, key and path of each file in the directory that `open` may open, in their order."""
        for bucket in sorted(self._folders()):
            for key, path in sorted(self._walk(bucket, "")):
                yield bucket, key, path

    def facts_of(self, bucket: str, key: str) -> ObjectFacts:
        """Of a file of the directory."""
        return self._facts(bucket, key, _status(self.root / bucket / key))

    # Buckets

    def buckets(self) -> dict[str, float]:
        """Name -> Unix seconds of its first object, or of its folder. With PostgreSQL those of the database alone: the
        folder may have copies of what was deleted."""
        if self.shared is not None:
            return self.shared.buckets()
        found = {name: _status(self.root / name) for name in self._folders()}
        return {name: status.st_mtime for name, status in found.items() if status is not None}

    def has_bucket(self, bucket: str) -> bool:
        if not is_bucket_name(bucket):
            return False
        return (self.root / bucket).is_dir() if self.shared is None else self.shared.has_bucket(bucket)

    def require_bucket(self, bucket: str) -> None:
        """Raises S3Error: 404."""
        if not self.has_bucket(bucket):
            raise no_such_bucket(bucket)

    def require_bucket_to_put(self, bucket: str) -> None:
        """As `require_bucket`, where an object is to be put."""
        if bucket != MODELS:
            self.require_bucket(bucket)

    def make_bucket(self, bucket: str, auditor: Auditor | None = None) -> None:
        """One whose name S3 allows; it may be there already."""
        change: ObjectChange = (object_resource(bucket), None, bucket_state(bucket))
        if self.shared is not None:
            self.shared.make_bucket(bucket, time.time(), _adder(auditor, [change]))
            return
        with self._changing, self._recorded(auditor, [] if self.has_bucket(bucket) else [change]):
            make_folders(self.root / bucket)
            _sync(self.root)

    def remove_bucket(self, bucket: str, auditor: Auditor | None = None) -> None:
        """Raises S3Error where it is not there, or has an object."""
        self.require_bucket(bucket)
        if self.entries(bucket):
            raise _not_empty(bucket)
        change: ObjectChange = (object_resource(bucket), bucket_state(bucket), None)
        if self.shared is not None:
            self.shared.delete(BUCKETS, [bucket], lambda connection, rows: _adder(auditor, [change])(connection))
            with self._changing:
                self._remove_folders(bucket)
            return
        with self._changing, self._recorded(auditor, [change]):
            self._remove_folders(bucket)
            if self.has_bucket(bucket):  # a file came meanwhile
                raise _not_empty(bucket)

    def _remove_folders(self, bucket: str) -> None:
        for folder, _, _ in os.walk(self.root / bucket, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()

    # Objects

    def entries(self, bucket: str, prefix: str = "", *, with_etags: bool = False) -> list[ObjectEntry]:
        """The objects whose keys begin so, in order of their keys; with PostgreSQL those of the database alone.

        Without `with_etags` an ETag is empty where it would have to be computed.
        """
        if self.shared is not None:
            found = [_entry(each) for each in self.shared.list_bucket(bucket, prefix)]
        else:
            found = []
            for key, path in self._walk(bucket, prefix):
                entry = self._entry(bucket, key, path, with_etags)
                if entry is not None:
                    found.append(entry)
        return sorted(found, key=lambda each: each.key)

    def find(self, bucket: str, key: str) -> ObjectEntry | None:
        """The object as it is, where it is there."""
        if self.shared is not None:
            row = self.shared.find(bucket, key)
            return None if row is None else _entry(row)
        path = self.root / bucket / key
        return self._entry(bucket, key, path, True) if _is_place(bucket, key) and self._is_inside(path) else None

    def put(
        self,
        path: Path,
        bucket: str,
        key: str,
        facts: ObjectFacts,
        check: ReplaceCheck,
        auditor: Auditor | None = None,
    ) -> ObjectEntry:
        """Makes an object of the temporary file, which is whole and on the disk. `facts` have its ETag.

        Raises S3Error where the key is none, the bucket is not there, a deployment, a plan or a package names the
        object that is there, or `check` does; else StoreUnavailable, ManagerError, OSError.
        """
        self._check_put(bucket, key, facts.etag)
        return self.put_unchecked(path, bucket, key, facts, check, auditor)

    def put_pieces(self, pieces: PieceWriter, bucket: str, key: str, facts: ObjectFacts) -> None:
        """As `put`, of what was written into the database. They go where that fails."""
        self._check_put(bucket, key, pieces.etag)
        if self.shared is not None:
            check = self._shared_check(bucket, key, lambda connection, before: None)
            self.shared.replace_by(pieces, bucket, key, time.time(), facts, check)

    def _check_put(self, bucket: str, key: str, etag: str) -> None:
        self.require_bucket_to_put(bucket)
        if not _is_safe(bucket, key) or any(len(part.encode()) > 255 for part in key.split("/")):
            raise S3Error("InvalidArgument", NO_KEY, 400, {"ArgumentName": "key", "ArgumentValue": key[:1024]})
        before = self.find(bucket, key)
        if before is not None and before.etag != etag:
            self._require_unnamed(bucket, key)

    def _shared_check(
        self, bucket: str, key: str, check: Callable[[sa.Connection, ObjectEntry | None], None]
    ) -> RowCheck:
        def check_shared(connection: sa.Connection, before: SharedFile | None) -> None:
            other = other_key_in_the_way(connection, bucket, key)
            if other is not None:
                raise _in_the_way(key)
            check(connection, None if before is None else _entry(before))

        return check_shared

    def put_unchecked(
        self,
        path: Path,
        bucket: str,
        key: str,
        facts: ObjectFacts,
        check: ReplaceCheck,
        auditor: Auditor | None = None,
    ) -> ObjectEntry:
        def change_of(before: ObjectEntry | None, after: ObjectEntry) -> list[ObjectChange]:
            check(before)
            return [(object_resource(bucket, key), _state(before), _state(after))]

        if self.shared is not None:
            now, size = time.time(), path.stat().st_size
            after = ObjectEntry(key, size, now, facts.etag, facts)

            def audited(connection: sa.Connection, before: ObjectEntry | None) -> None:
                _adder(auditor, change_of(before, after))(connection)

            row_check = self._shared_check(bucket, key, audited)
            with path.open("rb") as file:
                return _entry(self.shared.replace(file, bucket, key, now, facts, row_check))
        with self._changing:
            status = path.stat()
            stored = ObjectEntry(key, status.st_size, status.st_mtime, facts.etag, facts)
            changes = change_of(self._entry(bucket, key, self.root / bucket / key, True), stored)
            self._require_place(bucket, key)
            self._put_in_place(path, bucket, key, facts, self._recorded(auditor, changes))
        return stored

    def delete(self, bucket: str, key: str, check: ReplaceCheck, auditor: Auditor | None = None) -> None:
        """One that is not there is as if it were deleted. Raises S3Error where a deployment names it, or `check`."""
        self.require_bucket(bucket)
        before = self.find(bucket, key)
        check(before)
        if before is not None:
            for error in self.delete_others(bucket, [key], auditor).values():
                raise error

    def delete_others(self, bucket: str, keys: Sequence[str], auditor: Auditor | None = None) -> dict[str, S3Error]:
        """Deletes them but for those that a deployment or a plan names: key -> why."""
        named = self.named(bucket, keys)
        self.delete_unchecked(bucket, [key for key in dict.fromkeys(keys) if key not in named], auditor)
        return {key: _named_error(key) for key in named}

    def delete_unchecked(self, bucket: str, keys: Sequence[str], auditor: Auditor | None = None) -> None:
        if self.shared is not None:
            self.shared.delete(
                bucket, keys, lambda connection, rows: _adder(auditor, _deleted(bucket, map(_entry, rows)))(connection)
            )
            with self._changing:
                self._remove(bucket, keys)
            return
        if auditor is not None:
            self._find_each(bucket, keys)  # their ETags are known then: nobody waits in the lock until they are read
        with self._changing:
            found = () if auditor is None else self._find_each(bucket, keys)
            with self._recorded(auditor, _deleted(bucket, found)):
                self._remove(bucket, keys)

    def _find_each(self, bucket: str, keys: Sequence[str]) -> list[ObjectEntry]:
        found = (self.find(bucket, key) for key in keys)
        return [each for each in found if each is not None]

    # The audit of the directory

    def check_audit(self) -> None:
        """What a killed process wrote into the audit and did not change gets a row that says so. Raises
        StoreUnavailable."""
        if self._audit is not None:
            with self._changing:
                self._audit.check()

    def _recorded(self, auditor: Auditor | None, changes: Sequence[ObjectChange]) -> AbstractContextManager[None]:
        if auditor is None or not changes:
            return nullcontext()
        assert self._audit is not None
        return self._audit.recorded(auditor, changes)

    def _state_of(self, resource: str) -> ResourceState:
        """What is there of it."""
        bucket, _, key = resource.removeprefix("s3://").partition("/")
        if key:
            return _state(self.find(bucket, key))
        return bucket_state(bucket) if self.has_bucket(bucket) else None

    def named(self, bucket: str, keys: Collection[str]) -> set[str]:
        """Those that deployments or plans name: they must stay."""
        if self._store is None or not keys:
            return set()
        named = self._store.read(named_objects)
        return {key for key in keys if f"s3://{bucket}/{key}" in named}

    def read_into(self, write: Callable[[bytes], object], bucket: str, entry: ObjectEntry) -> None:
        """Calls `write` with the bytes of the object, in order."""
        if self.shared is not None:
            row = self.shared.find(bucket, entry.key)
            if row is None:
                raise no_such_key(entry.key)
            self.shared.read_into(row, write)
        else:
            with (self.root / bucket / entry.key).open("rb") as file:
                while chunk := file.read(CHUNK):
                    write(chunk)

    def _require_unnamed(self, bucket: str, key: str) -> None:
        """That no package names it either: what that says of its content must stay true."""
        store, url = self._store, f"s3://{bucket}/{key}"
        if store is not None and (self.named(bucket, [key]) or store.read(partial(is_package, url=url))):
            raise _named_error(key)

    def _folders(self) -> set[str]:
        try:
            return {each.name for each in self.root.iterdir() if is_bucket_name(each.name) and each.is_dir()}
        except FileNotFoundError:
            return set()

    def _walk(self, bucket: str, prefix: str) -> Iterator[tuple[str, Path]]:
        """Key and path of each file of a bucket in the directory, whose key begins so."""
        root, base = self.root.resolve(), self.root / bucket
        start = base.joinpath(*prefix.split("/")[:-1]) if _is_place(bucket, f"{prefix}x") else base
        for folder, _, names in os.walk(start):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(base).as_posix()
                safe = key.startswith(prefix) and _is_place(bucket, key)
                if safe and path.is_file() and path.resolve().is_relative_to(root):
                    yield key, path

    def _entry(self, bucket: str, key: str, path: Path, with_etag: bool) -> ObjectEntry | None:
        try:
            if not path.is_file():
                return None
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                facts = self._facts(bucket, key, status)
                etag = facts.etag or (self._etag(file, status) if with_etag else "")
        except (OSError, ValueError):
            return None
        return ObjectEntry(key, status.st_size, status.st_mtime, etag, facts)

    def _facts(self, bucket: str, key: str, status: os.stat_result | None) -> ObjectFacts:
        return NONE if status is None else object_facts.read_facts(self.root, bucket, key, status)

    def _require_place(self, bucket: str, key: str) -> None:
        """Raises S3Error where a file of that name cannot be in the directory: then the audit gets no row."""
        base = self.root / bucket
        if not self._is_inside(base / key):
            raise no_such_key(key)
        if (base / key).is_dir() or any((base / name).is_file() for name in _above(key)):
            raise _in_the_way(key)

    def _put_in_place(
        self, path: Path, bucket: str, key: str, facts: ObjectFacts, recorded: AbstractContextManager[None]
    ) -> None:
        """Gives the temporary file its name, within `recorded`. What is known of the file that has it now stays until
        then."""
        target = self.root / bucket / key
        if not self._is_inside(target):
            raise no_such_key(key)
        with ThreadPoolExecutor(1) as thread:  # the row and the facts wait for the disk at once
            written = thread.submit(self._write_facts, bucket, key, path.stat(), facts)
            with recorded:
                written.result()
                try:
                    _rename(path, target, self.root)
                except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                    raise _in_the_way(key) from error

    def _write_facts(self, bucket: str, key: str, status: os.stat_result, facts: ObjectFacts) -> None:
        """Beside those of the file that has the name now. `status`: of the file that gets it."""
        now = object_facts.entry(status.st_size, status.st_mtime, facts)
        before = object_facts.read_entries(self.root, bucket, key, _status(self.root / bucket / key))
        with self.incoming() as copy:
            with copy.open("wb") as file:
                file.write(object_facts.entries_text(now, *before))
                file.flush()
                os.fsync(file.fileno())
            _rename(copy, self.root / object_facts.facts_name(bucket, key), self.root)

    def _remove(self, bucket: str, keys: Sequence[str]) -> None:
        """The caller holds `_changing`."""
        base = self.root / bucket
        for key in keys:
            path = base / key
            if not _is_place(bucket, key) or not self._is_inside(path):
                continue
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                path.unlink()
                _sync(path.parent)
                with suppress(OSError):  # one that is not empty
                    for folder in path.relative_to(base).parents[:-1]:
                        (base / folder).rmdir()
            (self.root / object_facts.facts_name(bucket, key)).unlink(missing_ok=True)

    def _is_inside(self, path: Path) -> bool:
        """Whether its folder is one of the directory: an operator may have made a link."""
        return path.parent.resolve().is_relative_to(self.root.resolve())

    def open(self, bucket: str, key: str) -> OpenObject:
        """A file of the directory as it is now, even if it is replaced meanwhile; the caller closes it.

        Raises S3Error: 404. Where files are shared, `fetch` may get it.
        """
        file = self.open_file(bucket, key)
        status = os.fstat(file.fileno())
        facts = self._facts(bucket, key, status)
        return OpenObject(file, status.st_size, facts.etag or self._etag(file, status), status.st_mtime, facts)

    def open_file(self, bucket: str, key: str) -> BufferedReader:
        """As `open`, without an ETag, for which a file may have to be read wholly."""
        path = self._locate(bucket, key)
        try:
            return path.open("rb")
        except OSError as error:
            raise no_such_key(key) from error

    def _locate(self, bucket: str, key: str) -> Path:
        if not is_bucket_name(bucket) or not (self.root / bucket).is_dir():
            self.require_bucket_to_put(bucket)
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
            if len(self._etags) >= MOST_ETAGS:
                self._etags.clear()
            self._etags[state] = etag
        return etag


def _entry(row: SharedFile) -> ObjectEntry:
    facts = row.facts
    return ObjectEntry(row.key, row.size, row.modified, facts.etag, facts)


def _state(entry: ObjectEntry | None) -> ResourceState:
    """For the audit."""
    return None if entry is None else object_state(entry.size, entry.etag, entry.modified)


def _deleted(bucket: str, entries: Iterable[ObjectEntry]) -> list[ObjectChange]:
    return [(object_resource(bucket, each.key), _state(each), None) for each in entries]


def _adder(auditor: Auditor | None, changes: Sequence[ObjectChange]) -> Callable[[sa.Connection], None]:
    """Adds the rows in the transaction of the change."""
    return lambda connection: None if auditor is None else auditor.add(connection, changes)


def _not_empty(bucket: str) -> S3Error:
    return S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty", 409, {"BucketName": bucket})


def _named_error(key: str) -> S3Error:
    return S3Error("AccessDenied", NAMED, 403, {"Key": key})


def _in_the_way(key: str) -> S3Error:
    detail = "There is an object whose key is the beginning of this one at a slash, or begins so with this one."
    return S3Error("InvalidRequest", detail, 400, {"Key": key})


def _is_safe(bucket: str, key: str) -> bool:
    """Whether they name something below the directory, in UTF-8."""
    return is_bucket_name(bucket) and _is_place(bucket, key)


def _is_place(bucket: str, key: str) -> bool:
    """As `_is_safe`; the bucket may be one of our own."""
    if "\0" in key or any(each in ("", ".", "..") for each in key.split("/")):
        return False
    return not any("\ud800" <= character <= "\udfff" for character in key)


def _above(key: str) -> list[str]:
    """The keys that are its beginning at a slash."""
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _make_file(folder: Path) -> Path:
    descriptor, name = tempfile.mkstemp(dir=folder)
    with open(descriptor, "wb") as made:
        os.fchmod(made.fileno(), 0o644)
        give(made.fileno(), folder)
    return Path(name)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def _sha1_of(file: BufferedReader) -> str:
    return hashlib.file_digest(file, partial(hashlib.sha1, usedforsecurity=False)).hexdigest()


def _copy(model: BinaryIO, copy: BinaryIO) -> tuple[int, str]:
    """The size in bytes and the SHA-1 of what is on the disk afterwards."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    while chunk := model.read(CHUNK):
        sha1.update(chunk)
        copy.write(chunk)
    copy.flush()
    os.fsync(copy.fileno())
    return copy.tell(), sha1.hexdigest()


def _rename(temporary: Path, target: Path, root: Path) -> None:
    """Durable: the directories down from `root` are synchronised too."""
    for attempt in range(ATTEMPTS):
        make_folders(target.parent)
        try:
            temporary.replace(target)
            break
        except FileNotFoundError:  # another process removed the folder, which was empty
            if attempt + 1 == ATTEMPTS:
                raise
    for folder in target.parents:
        _sync(folder)
        if folder == root:
            break


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
