"""`hellos.sqlite`: hellos of the devices, topic filters of the session. SQLite in WAL mode: a commit survives kill -9.

The broker retains the newest hello of each device, so a file that cannot be used never stops the gateway: it is set
aside, at the start or later, and an empty one is begun. Must never decide what is kept: the core does.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self
from weakref import WeakKeyDictionary

from gateway.errors import MessageError, StateError
from gateway.protocol import Device, Hello, HelloRecord, Layout, Metric, Model
from gateway.storage.damaged_files import set_aside

FILE_PAGES = 65_536
"""Of the file at most: 256 MiB. What does not fit is not saved."""
DEVICE_LAYOUT_BYTES = 512 * 1024
"""Of the saved layouts of one device at most, as JSON; older tags are left out first."""
_COMPANIONS = ("-wal", "-shm", "-journal")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS layouts (id INTEGER PRIMARY KEY, layout TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS hellos (
    fleet TEXT NOT NULL, device TEXT NOT NULL, position INTEGER NOT NULL,
    tag INTEGER NOT NULL, layout INTEGER NOT NULL REFERENCES layouts, epoch INTEGER, max_payload INTEGER,
    flags INTEGER NOT NULL, implied INTEGER,
    PRIMARY KEY (fleet, device, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hellos_by_layout ON hellos (layout);
CREATE TABLE IF NOT EXISTS filters (filter TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_CHECKSUMS = """TABLE IF NOT EXISTS checksums (
    fleet TEXT NOT NULL, device TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (fleet, device)
) WITHOUT ROWID;
"""
_CLOCKS = """TABLE IF NOT EXISTS clocks (
    fleet TEXT NOT NULL, device TEXT NOT NULL, position INTEGER NOT NULL, boot TEXT NOT NULL, clock REAL,
    PRIMARY KEY (fleet, device, position)
) WITHOUT ROWID;
"""
_ADDED = (_CHECKSUMS, _CLOCKS)
"""What the file of an earlier version has not. `clocks`: by which clock an epoch was inferred, in which boot."""
_INSERT = "INSERT INTO hellos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OUTAGES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Primary codes of errors that say nothing about the file, but for a read that fails."""
_FAILED_READS = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


class _Saved(NamedTuple):
    """A layout in the file: its id, and the bytes and the CRC of its text."""

    number: int
    size: int
    crc: int

    @classmethod
    def of(cls, number: int, text: str) -> Self:
        return cls(number, len(text), _checksum(text))

    def checksum(self, values: tuple[int | None, ...], before: int) -> int:
        """Of a hello with this layout, and of those before it."""
        return _checksum((self.crc, values), before)


class HelloDatabase:
    """Raises sqlite3.Error or OSError if there can be no such file: its folder is not writable, or another has it.

    `begun_empty`: an empty file was begun since its user set this to False. Save all hellos again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: WeakKeyDictionary[Layout, _Saved] = WeakKeyDictionary()
        self._db: sqlite3.Connection | None = None
        self._boot = _boot_id()
        self.begun_empty = False
        try:
            self._connection()
        except sqlite3.Error as error:
            if _code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            # The disk is full: what is to be saved tries it again, and reports it.

    def hellos(self) -> Iterator[tuple[Device, list[HelloRecord]]]:
        """The saved hellos of each device, newest last."""
        if self._db is None:
            return
        try:
            yield from self._rows(self._db)
            reason = None
            unused = "SELECT 1 FROM layouts WHERE id NOT IN (SELECT layout FROM hellos) LIMIT 1"
            if _number(self._db, "page_count") <= FILE_PAGES and self._db.execute(unused).fetchone() is None:
                return
            # A version that kept unused layouts made it: deleting them would take long, and disk space.
        except (sqlite3.Error, ValueError, TypeError, MessageError) as error:
            reason = error
        with suppress(StateError):  # saving reports it
            self._begin_empty(reason)

    def _rows(self, db: sqlite3.Connection) -> Iterator[tuple[Device, list[HelloRecord]]]:
        used = "SELECT id, layout FROM layouts WHERE id IN (SELECT layout FROM hellos)"
        layouts = {number: (_from_json(json.loads(text)), _Saved.of(number, text)) for number, text in db.execute(used)}
        self._saved.update(dict(layouts.values()))
        rows = db.execute(
            "SELECT fleet, device, checksum, boot, clock, tag, layout, epoch, max_payload, flags, implied"
            " FROM hellos LEFT JOIN checksums USING (fleet, device) LEFT JOIN clocks USING (fleet, device, position)"
            " WHERE layout IN (SELECT id FROM layouts) ORDER BY fleet, device, position"
        )
        for (fleet, name, checksum), records in groupby(rows, lambda row: row[:3]):
            found, total = [], 0
            for *_, boot, clock, tag, number, epoch, max_payload, flags, implied in records:
                layout, saved = layouts[number]
                # Earlier versions kept an inferred epoch beside one of the device's own.
                inferred = None if boot is None and epoch is not None else implied
                hello = Hello(tag, layout, epoch, max_payload, flags)
                found.append(HelloRecord(hello, inferred, clock if boot == self._boot != "" else None))
                total = saved.checksum((tag, epoch, max_payload, flags, implied), total)
            if checksum not in (total, None):  # None: an earlier version saved it
                raise ValueError(f"the hellos of {fleet}/{name} are not what was saved")
            yield Device(fleet, name), found

    def save_hellos(self, changed: Mapping[Device, tuple[HelloRecord, ...]]) -> None:
        """Replace the hellos of each device, newest last. Committed when it returns. Raises StateError."""
        unused = set[int]()
        with self._transaction() as db:
            for device, records in changed.items():
                unused |= self._replace(db, device, records)
            # At the end: an id that is given again to another layout would be taken for that of this one.
            never = "DELETE FROM layouts WHERE id = ? AND NOT EXISTS (SELECT 1 FROM hellos WHERE layout = id)"
            deleted = {number for number in unused if db.execute(never, (number,)).rowcount}
            for layout in [each for each, saved in self._saved.items() if saved.number in deleted]:
                del self._saved[layout]

    def _replace(self, db: sqlite3.Connection, device: Device, records: tuple[HelloRecord, ...]) -> set[int]:
        """The ids of the layouts that it does not use any more."""
        key = (device.fleet, device.name)
        unused = {row[0] for row in db.execute("SELECT layout FROM hellos WHERE fleet = ? AND device = ?", key)}
        db.execute("DELETE FROM hellos WHERE fleet = ? AND device = ?", key)
        db.execute("DELETE FROM clocks WHERE fleet = ? AND device = ?", key)
        saved = [self._save_layout(db, record.hello.layout) for record in records]
        unused.update(each.number for each in saved)
        while sum(each.size for each in saved) > DEVICE_LAYOUT_BYTES:
            records, saved = records[1:], saved[1:]
        checksum = 0
        for position, (record, layout) in enumerate(zip(records, saved, strict=True)):
            hello = record.hello
            rest = hello.epoch, hello.max_payload, hello.flags, record.inferred_epoch
            db.execute(_INSERT, (*key, position, hello.tag, layout.number, *rest))
            checksum = layout.checksum((hello.tag, *rest), checksum)
            if record.inferred_epoch is not None:
                boot = "" if record.clock is None else self._boot
                db.execute("INSERT INTO clocks VALUES (?, ?, ?, ?, ?)", (*key, position, boot, record.clock))
        db.execute("INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)", (*key, checksum))
        return unused - {each.number for each in saved}

    def _save_layout(self, db: sqlite3.Connection, layout: Layout) -> "_Saved":
        found = self._saved.get(layout)
        if found is None:
            text = json.dumps(_to_json(layout))
            db.execute("INSERT OR IGNORE INTO layouts (layout) VALUES (?)", (text,))
            row = db.execute("SELECT id FROM layouts WHERE layout = ?", (text,)).fetchone()
            if row is None:
                raise sqlite3.DatabaseError("a layout that was saved is not there")
            found = self._saved[layout] = _Saved.of(int(row[0]), text)
        return found

    def filters(self) -> list[str]:
        """The topic filters that the session on the broker may have."""
        if self._db is None:
            return []
        try:
            return _read_filters(self._db)
        except (sqlite3.Error, ValueError) as error:
            with suppress(StateError):
                self._begin_empty(error)
            return []

    def save_filters(self, filters: Iterable[str]) -> None:
        """Replace them. Raises StateError."""
        with self._transaction() as db:
            _write_filters(db, filters)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises StateError, once an empty file is begun where this one cannot be used."""
        try:
            db = self._connection()
            with db:
                db.execute("BEGIN")
                yield db
        except (sqlite3.Error, OSError) as error:
            self._saved.clear()  # ids of the rolled back transaction do not exist
            if isinstance(error, sqlite3.Error) and _is_damage(error):
                self._begin_empty(error)
            raise StateError(f"hellos.sqlite: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        """Opened, if it was not possible until now. Raises sqlite3.Error or OSError."""
        if self._db is None:
            try:
                self._db = _open(self._path)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
                try:
                    set_aside(self._path, error, _COMPANIONS)
                except FileNotFoundError:
                    raise error from None
                self.begun_empty = True
                self._db = _open(self._path)
        return self._db

    def _begin_empty(self, reason: Exception | None) -> None:
        """The topic filters are kept, if they can be read. None: the file is in order but not small, and goes."""
        filters = list[str]()
        if self._db is not None:
            with suppress(sqlite3.Error, ValueError):
                filters = _read_filters(self._db)
            self._db.close()
            self._db = None
        self._saved.clear()
        try:
            if reason is None:
                for suffix in ("", *_COMPANIONS):
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):
                    set_aside(self._path, reason, _COMPANIONS)
            self.begun_empty = True
            _write_filters(self._connection(), filters)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"hellos.sqlite: {error}") from error


def _boot_id() -> str:
    """Names this boot of the machine; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _open(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error: `_is_damage` says whether the file is the reason."""
    db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
    try:
        _prepare(db)
    except ValueError as error:  # a name in the schema is not UTF-8
        db.close()
        raise sqlite3.DatabaseError(str(error)) from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 16777216")
    db.execute(f"PRAGMA max_page_count = {FILE_PAGES}")
    found = _columns(db)
    if any(columns != _TABLES.get(table) for table, columns in found.items()) or _number(db, "user_version"):
        raise sqlite3.DatabaseError("another program or another version made it")
    if _number(db, "page_count") <= FILE_PAGES:  # a larger one is written anew
        check = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check)
    try:
        db.executescript(_SCHEMA + "".join(f"CREATE {table}" for table in _ADDED))
    except sqlite3.OperationalError:
        if not _TABLES.keys() - found.keys() <= {"checksums", "clocks"}:
            raise
        # The disk is full, and an earlier version made the file: it can be read.
        db.executescript("PRAGMA temp_store = MEMORY;" + "".join(f"CREATE TEMP {table}" for table in _ADDED))


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _read_filters(db: sqlite3.Connection) -> list[str]:
    """Raises ValueError if they are not what was saved: a broker ends the connection for a filter that cannot be."""
    filters = [str(row[0]) for row in db.execute("SELECT filter FROM filters ORDER BY filter")]
    checksum = db.execute("SELECT checksum FROM checksums WHERE fleet = '' AND device = ''").fetchone()
    if checksum not in ((_checksum(filters),), None):  # None: an earlier version saved them
        raise ValueError("the topic filters are not what was saved")
    return filters


def _write_filters(db: sqlite3.Connection, filters: Iterable[str]) -> None:
    ordered = sorted(set(filters))
    db.execute("DELETE FROM filters")
    db.executemany("INSERT INTO filters VALUES (?)", [(each,) for each in ordered])
    db.execute("INSERT OR REPLACE INTO checksums VALUES ('', '', ?)", (_checksum(ordered),))


def _checksum(value: object, before: int = 0) -> int:
    return zlib.crc32(repr(value).encode(), before)


def _columns(db: sqlite3.Connection) -> dict[str, list[str]]:
    """The names of the columns of each table."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    find = "SELECT name FROM pragma_table_info(?)"
    return {table: [row[0] for row in db.execute(find, (table,))] for table in tables}


def _expected() -> dict[str, list[str]]:
    with sqlite3.connect(":memory:") as db:
        db.executescript(_SCHEMA + "".join(f"CREATE {table}" for table in _ADDED))
        found = _columns(db)
    db.close()
    return found


_TABLES = _expected()


def _code(error: sqlite3.Error) -> int:
    """The primary code; SQLITE_CORRUPT of an error that is not SQLite's: what was read is nonsense."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is the reason, and not the disk, or who has it open."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    return _code(error) not in _OUTAGES or getattr(error, "sqlite_errorcode", None) in _FAILED_READS


def _to_json(layout: Layout) -> list[Any]:
    models = [[model.name, model.version, _row(model.metrics)] for model in layout.models]
    return [layout.agent_version, _row(layout.metrics), models]


def _row(metrics: tuple[Metric, ...]) -> list[list[Any]]:
    return [[metric.dimension, metric.name, metric.exponent] for metric in metrics]


def _from_json(fields: list[Any]) -> Layout:
    version, metrics, models = fields
    return Layout(
        version,
        tuple(Metric(*metric) for metric in metrics),
        tuple(Model(name, version, tuple(Metric(*metric) for metric in rows)) for name, version, rows in models),
    )
