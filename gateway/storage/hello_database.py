"""`hellos.sqlite`: hellos of the devices, topic filters of the session. SQLite in WAL mode: a commit survives kill -9.

The broker retains the newest hello of each device, so a file that cannot be used never stops the gateway: it is set
aside, at the start or later, and an empty one is begun. Must never decide what is kept: the core does.
"""

import json
import math
import os
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
OPEN_WAIT = 2.0
"""Seconds at the start in which another process may close the file."""
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
_ADDED = {
    "checksums": "(fleet TEXT NOT NULL, device TEXT NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (fleet, device))",
    "clocks": "(fleet TEXT NOT NULL, device TEXT NOT NULL, position INTEGER NOT NULL, boot TEXT NOT NULL, clock REAL,"
    " PRIMARY KEY (fleet, device, position))",
    "registrations": "(fleet TEXT NOT NULL, device TEXT NOT NULL, since REAL NOT NULL, PRIMARY KEY (fleet, device))",
}
"""What the file of an earlier version has not. `clocks`: by which clock an epoch was inferred, in which boot.
`registrations`: since when a device is registered, in Unix seconds."""
_ALL_TABLES = _SCHEMA + "".join(
    f"CREATE TABLE IF NOT EXISTS {name} {columns} WITHOUT ROWID;" for name, columns in _ADDED.items()
)
_TRIGGERS = """
CREATE TRIGGER IF NOT EXISTS hellos_deleted AFTER DELETE ON hellos BEGIN
    DELETE FROM checksums WHERE fleet = OLD.fleet AND device = OLD.device;
    DELETE FROM clocks WHERE fleet = OLD.fleet AND device = OLD.device;
END;
CREATE TRIGGER IF NOT EXISTS hellos_added AFTER INSERT ON hellos BEGIN
    DELETE FROM checksums WHERE fleet = NEW.fleet AND device = NEW.device;
    DELETE FROM clocks WHERE fleet = NEW.fleet AND device = NEW.device;
END;
CREATE TRIGGER IF NOT EXISTS filters_deleted AFTER DELETE ON filters BEGIN
    DELETE FROM checksums WHERE fleet = '' AND device = '';
END;
CREATE TRIGGER IF NOT EXISTS filters_added AFTER INSERT ON filters BEGIN
    DELETE FROM checksums WHERE fleet = '' AND device = '';
END;
"""
"""An earlier version that is installed again does not know checksums and clocks: what it writes has none."""
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

    def checksum(self, values: tuple[int | str | float | None, ...], before: int) -> int:
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
            self._connection(OPEN_WAIT)
        except sqlite3.Error as error:
            if not _is_outage(error, path):
                raise
            # The disk is full, or a backup reads the file: what is to be saved tries it again, and reports it.

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
                record = HelloRecord(hello, inferred, clock if boot == self._boot else None)
                if not _can_be_saved(record):
                    raise ValueError(f"the hellos of {fleet}/{name} have an impossible number")
                found.append(record)
                total = saved.checksum((tag, epoch, max_payload, flags, implied, boot, clock), total)
            if checksum not in (total, None):  # None: an earlier version saved it
                raise ValueError(f"the hellos of {fleet}/{name} are not what was saved")
            yield Device(fleet, name), found

    def save_hellos(self, changed: Mapping[Device, tuple[HelloRecord, ...]]) -> None:
        """Replace the hellos of each device, newest last. Committed when it returns. Raises StateError.

        A hello with a number that SQLite does not take is left out.
        """
        unused = set[int]()
        with self._transaction() as db:
            for device, records in changed.items():
                unused |= self._replace(db, device, records)
            # At the end: an id that is given again to another layout would be taken for that of this one.
            never = "DELETE FROM layouts WHERE id = ? AND NOT EXISTS (SELECT 1 FROM hellos WHERE layout = id)"
            # Looking for them among all known layouts takes longer than to read an id from the file again.
            if sum(db.execute(never, (number,)).rowcount for number in unused):
                self._saved = WeakKeyDictionary()

    def _replace(self, db: sqlite3.Connection, device: Device, records: tuple[HelloRecord, ...]) -> set[int]:
        """The ids of the layouts that it does not use any more."""
        key = (device.fleet, device.name)
        unused = {row[0] for row in db.execute("SELECT layout FROM hellos WHERE fleet = ? AND device = ?", key)}
        db.execute("DELETE FROM hellos WHERE fleet = ? AND device = ?", key)
        db.execute("DELETE FROM clocks WHERE fleet = ? AND device = ?", key)
        records = tuple(filter(_can_be_saved, records))
        saved = [self._save_layout(db, record.hello.layout) for record in records]
        unused.update(each.number for each in saved)
        while sum(each.size for each in saved) > DEVICE_LAYOUT_BYTES:
            records, saved = records[1:], saved[1:]
        checksum, clocks = 0, list[tuple[str, str, int, str, float | None]]()
        for position, (record, layout) in enumerate(zip(records, saved, strict=True)):
            hello = record.hello
            rest = hello.epoch, hello.max_payload, hello.flags, record.inferred_epoch
            db.execute(_INSERT, (*key, position, hello.tag, layout.number, *rest))
            boot, clock = None, None
            if record.inferred_epoch is not None:
                clock = None if record.clock is None or not self._boot else float(record.clock)
                boot = "" if clock is None else self._boot
                clocks.append((*key, position, boot, clock))
            checksum = layout.checksum((hello.tag, *rest, boot, clock), checksum)
        # After all hellos: the triggers delete them.
        db.executemany("INSERT INTO clocks VALUES (?, ?, ?, ?, ?)", clocks)
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

    def registrations(self) -> list[tuple[Device, float]]:
        """Since when each device is registered, as it was saved."""
        if self._db is None:
            return []
        try:
            found = self._db.execute("SELECT fleet, device, since FROM registrations").fetchall()
            return [(Device(fleet, name), float(since)) for fleet, name, since in found]
        except (sqlite3.Error, ValueError, TypeError, MessageError) as error:
            with suppress(StateError):
                self._begin_empty(error)
            return []

    def save_registrations(self, changed: Mapping[Device, float | None]) -> None:
        """Since when they are registered; None: they are not. Committed when it returns. Raises StateError."""
        keys = [(device.fleet, device.name) for device in changed]
        rows = [(*key, since) for key, since in zip(keys, changed.values(), strict=True) if since is not None]
        with self._transaction() as db:
            db.executemany("DELETE FROM registrations WHERE fleet = ? AND device = ?", keys)
            db.executemany("INSERT INTO registrations VALUES (?, ?, ?)", rows)

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
        except (sqlite3.Error, OSError, OverflowError, ValueError, TypeError) as error:
            self._saved.clear()  # ids of the rolled back transaction do not exist
            if isinstance(error, sqlite3.Error) and _is_damage(error, self._path):
                self._begin_empty(error)
            raise StateError(f"hellos.sqlite: {error}") from error

    def _connection(self, wait: float = 0.0) -> sqlite3.Connection:
        """Opened, if it was not possible until now. Raises sqlite3.Error or OSError.

        `wait`: seconds for another process that has the file open.
        """
        if self._db is None:
            try:
                self._db = _open(self._path, wait)
            except sqlite3.Error as error:
                if not _is_damage(error, self._path):
                    raise
                try:
                    set_aside(self._path, error, _COMPANIONS)
                except FileNotFoundError:
                    raise error from None
                self.begun_empty = True
                self._db = _open(self._path, wait)
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


def _can_be_saved(record: HelloRecord) -> bool:
    """Raises TypeError if one of its numbers is none."""
    hello = record.hello
    numbers = hello.tag, hello.epoch, hello.max_payload, hello.flags, record.inferred_epoch
    clock = record.clock is None or math.isfinite(record.clock)
    return clock and all(each is None or -(2**63) <= each < 2**63 for each in numbers)


def _boot_id() -> str:
    """Names this boot of the machine; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _open(path: Path, wait: float) -> sqlite3.Connection:
    """Raises sqlite3.Error: `_is_damage` says whether the file is the reason."""
    db = sqlite3.connect(path, isolation_level=None, timeout=wait)
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
    script = _ALL_TABLES
    triggers = db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()[0]
    if triggers != _TRIGGERS.count("CREATE TRIGGER"):  # an earlier version made the file, and may have changed hellos
        script += f"DELETE FROM checksums;{_TRIGGERS}"
    try:
        db.executescript(script)
    except sqlite3.OperationalError:
        if not _TABLES.keys() - found.keys() <= _ADDED.keys():
            raise
        # The disk is full, and an earlier version made the file: it can be read.
        temporary = "".join(f"CREATE TEMP TABLE {name} {columns};" for name, columns in _ADDED.items())
        db.executescript(f"PRAGMA temp_store = MEMORY;{temporary}")


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
        db.executescript(_ALL_TABLES)
        found = _columns(db)
    db.close()
    return found


_TABLES = _expected()


def _code(error: sqlite3.Error) -> int:
    """The primary code; SQLITE_CORRUPT of an error that is not SQLite's: what was read is nonsense."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _is_outage(error: sqlite3.Error, path: Path) -> bool:
    """Whether it ends by itself: the disk is full, another process has the file, too many files are open."""
    return _code(error) in _OUTAGES or (_code(error) == sqlite3.SQLITE_CANTOPEN and _may_be_opened(path))


def _is_damage(error: sqlite3.Error, path: Path) -> bool:
    """Whether the file is the reason, and not the disk, or who has it open."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    return not _is_outage(error, path) or getattr(error, "sqlite_errorcode", None) in _FAILED_READS


def _may_be_opened(path: Path) -> bool:
    """Nothing is opened for that: to close a file again would end SQLite's locks on it."""
    files = [each for suffix in ("", *_COMPANIONS) if os.path.lexists(each := f"{path}{suffix}")]
    return os.access(path.parent, os.W_OK | os.X_OK) and all(
        os.path.isfile(each) and os.access(each, os.R_OK | os.W_OK) for each in files
    )


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
