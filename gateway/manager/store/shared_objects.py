"""Model files in PostgreSQL, for managers on several machines: a row of `objects`, and the bytes in `object_pieces`.

The pieces are written first, a few a transaction, and the row last: nobody sees half a file. What is read or written
at once is `BATCH` pieces, however large the file is. A model file that is there already is not written again.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader
from typing import Any, BinaryIO, TypeVar

import sqlalchemy as sa

from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.store.object_facts import NONE, ObjectFacts, load_facts
from gateway.manager.store.store import Store
from gateway.manager.store.tables import OBJECT_PIECES, OBJECTS
from gateway.manager.store.transaction import Transaction

PIECE = 256 * 1024
BATCH = 4
ABANDONED = 600.0
"""Seconds without a new piece after which a file that has no row yet is one of a process that was killed."""

BUCKETS = ".buckets"
"""The bucket whose keys are the names of those that were made by name."""

T = TypeVar("T")
Run = Callable[[Callable[[sa.Connection], T]], T]
"""Calls a piece of work with a connection, in a transaction of its own or in the caller's."""

_ADD = (
    "INSERT INTO object_pieces (object, piece, data, written) SELECT %b, piece, data, extract(epoch FROM now())"
    " FROM unnest(%b::integer[], %b::bytea[]) AS given (piece, data)"
)
_NUMBER = "SELECT nextval(pg_get_serial_sequence('objects', 'id'))"
_LOCK = "LOCK TABLE objects IN SHARE ROW EXCLUSIVE MODE"  # others read on
_REMOVE_ABANDONED = (
    "DELETE FROM object_pieces WHERE object IN (SELECT object FROM object_pieces WHERE object NOT IN"
    " (SELECT id FROM objects) GROUP BY object HAVING max(written) < extract(epoch FROM now()) - %b)"
)


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A row of `objects`. `size` in bytes, `sha1` as 40 hex digits, `modified` in Unix seconds, `text`: its facts."""

    id: int
    bucket: str
    key: str
    size: int
    sha1: str
    modified: float
    text: str = ""

    @property
    def facts(self) -> ObjectFacts:
        return replace(load_facts(self.text), source=self.id)


OnDeleted = Callable[[sa.Connection, Sequence[SharedFile]], None]
"""Called with the files that a transaction deleted, where there were any."""
RowCheck = Callable[[sa.Connection, SharedFile | None], None]
"""Called with the file of that name as it is, before another one replaces it, in the same transaction."""


def write_file(
    run: Run[Any],
    file: BufferedReader,
    bucket: str,
    name: Callable[[str], str],
    modified: float,
    facts: ObjectFacts = NONE,
) -> tuple[str, int, str]:
    """Writes the file under the key that `name` makes of its SHA-1: (key, size in bytes, SHA-1)."""
    if file.seekable():  # a pipe can be read once alone
        sha1 = hashlib.file_digest(file, _sha1).hexdigest()
        found = run(lambda connection: find_file(connection, bucket, name(sha1)))
        if found is not None and (found.sha1, found.size) == (sha1, file.tell()):
            return found.key, found.size, sha1
        file.seek(0)
    row = _write_pieces(run, file).finish(bucket, name, modified, facts)
    return row.key, row.size, row.sha1


class PieceWriter:
    """The bytes of a file that has no row yet; `run`: each batch in a transaction."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._number: int = run(lambda connection: connection.exec_driver_sql(_NUMBER).scalar_one())
        self._sha1, self._md5 = _sha1(), hashlib.md5(usedforsecurity=False)
        self._size = self._pieces = 0
        self._batch: list[bytes] = []

    def write(self, data: bytes) -> None:
        """A piece: PIECE bytes, or fewer, which are the last ones."""
        self._sha1.update(data)
        self._md5.update(data)
        self._size += len(data)
        self._batch.append(data)
        if len(self._batch) == BATCH:
            self._flush()

    def finish(
        self,
        bucket: str,
        name: Callable[[str], str],
        modified: float,
        facts: ObjectFacts,
        check: "RowCheck | None" = None,
    ) -> SharedFile:
        """The row of the file, under the key that `name` makes of its SHA-1; `check`: as for `_finish`."""
        self._flush()
        sha1 = self._sha1.hexdigest()
        text = replace(facts, etag=facts.etag or self.etag, source=0).dump()
        row = SharedFile(self._number, bucket, name(sha1), self._size, sha1, modified, text)
        self._run(lambda connection: _finish(connection, row, self._pieces, check))
        return row

    @property
    def etag(self) -> str:
        """Of what was written so far."""
        return f'"{self._md5.hexdigest()}"'

    def discard(self) -> None:
        self._run(lambda connection: _delete(connection, [self._number]))

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            given = (self._number, list(range(self._pieces, self._pieces + len(batch))), batch)
            self._run(partial(sa.Connection.exec_driver_sql, statement=_ADD, parameters=given))
            self._pieces += len(batch)


def _write_pieces(run: Run[Any], file: BufferedReader) -> PieceWriter:
    """Each piece but the file's last one is whole, also from a pipe."""
    pieces = PieceWriter(run)
    while data := file.read(PIECE):
        pieces.write(data)
    return pieces


def _finish(connection: sa.Connection, row: SharedFile, pieces: int, check: RowCheck | None = None) -> None:
    """Others see the file from the commit on. `check` None: one of the same content stays as it is.

    Raises ManagerError where a process that removes what others left took this one for dead.
    """
    connection.exec_driver_sql(_LOCK)
    of_file = OBJECT_PIECES.c.object == row.id
    if connection.scalar(sa.select(sa.func.count()).where(of_file)) != pieces:
        raise ManagerError(f"{row.key} was not written in time, and is not kept: deploy it again")
    before = find_file(connection, row.bucket, row.key)
    if check is not None:
        check(connection, before)
    elif before is not None and (before.sha1, before.size) == (row.sha1, row.size):  # written by another one meanwhile
        connection.execute(sa.delete(OBJECT_PIECES).where(of_file))
        return
    if before is not None:
        _delete(connection, [before.id])
    names = [column.name for column in OBJECTS.columns]
    values = dict(zip(names, (row.id, row.bucket, row.key, row.size, row.sha1, row.modified, row.text), strict=True))
    connection.execute(sa.insert(OBJECTS).values(values))


def _delete(connection: sa.Connection, ids: Sequence[int]) -> None:
    connection.execute(sa.delete(OBJECTS).where(OBJECTS.c.id.in_(ids)))
    connection.execute(sa.delete(OBJECT_PIECES).where(OBJECT_PIECES.c.object.in_(ids)))


def _make_bucket(connection: sa.Connection, bucket: str, now: float) -> bool:
    """Whether it was not there by name."""
    connection.exec_driver_sql(_LOCK)
    if find_file(connection, BUCKETS, bucket) is not None:
        return False
    values = {"bucket": BUCKETS, "key": bucket, "size": 0, "sha1": _sha1().hexdigest(), "modified": now}
    connection.execute(sa.insert(OBJECTS).values(values))
    return True


def find_file(connection: sa.Connection, bucket: str, key: str) -> SharedFile | None:
    select = sa.select(OBJECTS).where(OBJECTS.c.bucket == bucket, OBJECTS.c.key == key)
    row = connection.execute(select).first()
    return None if row is None else SharedFile(*row)


def other_key_in_the_way(connection: sa.Connection, bucket: str, key: str) -> str | None:
    """A key that is the beginning of `key` at a slash, or begins so with it: in a folder one of them has no place."""
    parts = key.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts))]
    is_one = sa.or_(OBJECTS.c.key.in_(above), OBJECTS.c.key.startswith(f"{key}/", autoescape=True))
    return connection.scalar(sa.select(OBJECTS.c.key).where(OBJECTS.c.bucket == bucket, is_one).limit(1))


class SharedObjects:
    """The model files of an open store of PostgreSQL, in any thread. Raises StoreUnavailable while it is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends = threading.Event()

    def close(self) -> None:
        """What is being copied in another thread ends with StoreUnavailable."""
        self._ends.set()

    def put(self, file: BufferedReader, bucket: str, name: Callable[[str], str], now: float) -> tuple[str, int, str]:
        """As `write_file`; first, what processes left that were killed is removed."""
        self._write(_remove_abandoned)
        return write_file(self._write, file, bucket, name, now)

    def replace(
        self, file: BufferedReader, bucket: str, key: str, modified: float, facts: ObjectFacts, check: RowCheck
    ) -> SharedFile:
        """Writes the file under that key, whatever is there."""
        self._write(_remove_abandoned)
        return self.replace_by(_write_pieces(self._write, file), bucket, key, modified, facts, check)

    def begin(self) -> PieceWriter:
        """For `replace_by`."""
        self._write(_remove_abandoned)
        return PieceWriter(self._write)

    def replace_by(
        self, pieces: PieceWriter, bucket: str, key: str, modified: float, facts: ObjectFacts, check: RowCheck
    ) -> SharedFile:
        """As `replace`; the pieces go where that fails."""
        try:
            return pieces.finish(bucket, lambda sha1: key, modified, facts, check)
        except BaseException:
            pieces.discard()
            raise

    def delete(self, bucket: str, keys: Sequence[str], on_deleted: OnDeleted) -> None:
        """Those that are not there are as if they were deleted. The bucket stays, also where it has no file then."""

        def work(connection: sa.Connection) -> None:
            connection.exec_driver_sql(_LOCK)
            select = sa.select(OBJECTS).where(OBJECTS.c.bucket == bucket, OBJECTS.c.key.in_(keys))
            rows = [SharedFile(*row) for row in connection.execute(select)]
            _delete(connection, [each.id for each in rows])
            if rows:
                on_deleted(connection, rows)
                if not bucket.startswith("."):
                    _make_bucket(connection, bucket, time.time())

        self._write(work)

    def find(self, bucket: str, key: str) -> SharedFile | None:
        return self._store.read(lambda transaction: find_file(transaction.connection, bucket, key))

    def list_files(self) -> Sequence[SharedFile]:
        """All model files, in order of their names."""
        select = sa.select(OBJECTS).where(OBJECTS.c.bucket.not_like(".%")).order_by(OBJECTS.c.bucket, OBJECTS.c.key)
        return self._read_files(select)

    def list_bucket(self, bucket: str, prefix: str) -> Sequence[SharedFile]:
        """The files of a bucket whose keys begin so, in any order."""
        select = sa.select(OBJECTS).where(OBJECTS.c.bucket == bucket, OBJECTS.c.key.startswith(prefix, autoescape=True))
        return self._read_files(select)

    def buckets(self) -> dict[str, float]:
        """Those that have a file, or were made by name -> Unix seconds of what was first."""
        name = sa.case((OBJECTS.c.bucket == BUCKETS, OBJECTS.c.key), else_=OBJECTS.c.bucket).label("name")
        is_one = sa.or_(OBJECTS.c.bucket == BUCKETS, OBJECTS.c.bucket.not_like(".%"))
        select = sa.select(name, sa.func.min(OBJECTS.c.modified)).where(is_one).group_by(name)
        rows = self._store.read(lambda each: each.connection.execute(select).all())
        return {row[0]: row[1] for row in rows}

    def has_bucket(self, bucket: str) -> bool:
        is_made = sa.and_(OBJECTS.c.bucket == BUCKETS, OBJECTS.c.key == bucket)
        select = sa.select(OBJECTS.c.id).where(sa.or_(OBJECTS.c.bucket == bucket, is_made)).limit(1)
        return self._store.read(lambda each: each.connection.scalar(select)) is not None

    def make_bucket(self, bucket: str, now: float, on_made: Callable[[sa.Connection], None]) -> None:
        """`on_made` is called in the transaction, where it was not there by name."""

        def work(connection: sa.Connection) -> None:
            if _make_bucket(connection, bucket, now):
                on_made(connection)

        self._write(work)

    def _read_files(self, select: sa.Select[Any]) -> Sequence[SharedFile]:
        return [SharedFile(*row) for row in self._store.read(lambda each: each.connection.execute(select).all())]

    def copy(self, found: SharedFile, target: BinaryIO) -> None:
        """Writes the file to the disk. Raises OSError where what is in the database is not what was stored."""
        self.read_into(found, target.write)
        target.flush()
        os.fsync(target.fileno())
        os.utime(target.fileno(), (found.modified, found.modified))

    def read_into(self, found: SharedFile, write: Callable[[bytes], object]) -> None:
        """Calls `write` with the bytes of the file. Raises OSError where they are not what was stored."""
        for piece in self.pieces(found):
            write(piece)

    def pieces(self, found: SharedFile) -> Iterator[bytes]:
        """The bytes of the file. Raises OSError at their end where they are not what was stored."""
        digest, data = _sha1(), OBJECT_PIECES.c.data
        select = sa.select(data).where(OBJECT_PIECES.c.object == found.id).order_by(OBJECT_PIECES.c.piece)
        for first in range(0, -(-found.size // PIECE), BATCH):
            if self._ends.is_set():
                raise StoreUnavailable("the manager ends")
            part = select.where(OBJECT_PIECES.c.piece.between(first, first + BATCH - 1))
            for piece in self._store.read(partial(_read, part)):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != found.sha1:
            raise OSError(f"the model file {found.bucket}/{found.key} in the database is not what was stored")

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        return self._store.write(lambda transaction: work(transaction.connection))


def _read(select: sa.Select[Any], transaction: Transaction) -> Sequence[bytes]:
    return transaction.connection.scalars(select).all()


def _remove_abandoned(connection: sa.Connection) -> None:
    connection.exec_driver_sql(_LOCK)  # none of them gets its row meanwhile
    connection.exec_driver_sql(_REMOVE_ABANDONED, (ABANDONED,))


def _sha1() -> "hashlib._Hash":
    return hashlib.sha1(usedforsecurity=False)
