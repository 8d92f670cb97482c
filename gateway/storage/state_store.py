"""State that survives a restart: hellos of the devices, topic filters of the session, dead letters without subscriber.

SQLite in WAL mode: a commit survives kill -9. It must never decide what is kept: the core does.
"""

import base64
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from gateway.errors import Code, ConfigError, StateError, explain
from gateway.lock import FolderInUse, FolderLock
from gateway.protocol import Device, Hello, HelloRecord, Layout, Metric, Model

DEAD_LETTER_BYTES = 64 * 1024 * 1024
LOCK_WAIT = 2.0
"""Seconds in which a gateway that stops may leave the folder."""
UNKNOWN_DOWNTIME = 86_400.0
"""Seconds."""
_COLUMNS = "fleet, device, position, tag, layout, epoch, max_payload, flags, implied, boot, clock"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS layouts (id INTEGER PRIMARY KEY, layout TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS hellos (
    fleet TEXT NOT NULL, device TEXT NOT NULL, position INTEGER NOT NULL,
    tag INTEGER NOT NULL, layout INTEGER NOT NULL REFERENCES layouts, epoch INTEGER, max_payload INTEGER,
    flags INTEGER NOT NULL, implied INTEGER, boot TEXT, clock REAL,
    PRIMARY KEY (fleet, device, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS filters (filter TEXT PRIMARY KEY) WITHOUT ROWID;
"""


def _boot_id() -> str:
    """Names this boot of the machine; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        columns = {row[1] for row in db.execute("PRAGMA table_info(hellos)")}
        for name in {"boot TEXT", "clock REAL"}:
            if name.split()[0] not in columns:  # it is of an earlier version
                db.execute(f"ALTER TABLE hellos ADD COLUMN {name}")
    except BaseException:
        db.close()
        raise
    return db


class StateStore:
    """One folder: `hellos.sqlite`, `dead.jsonl` and `alive`. Raises ConfigError if the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._dead_letters, self._alive = folder / "dead.jsonl", folder / "alive"
        self._layout_ids: WeakKeyDictionary[Layout, int] = WeakKeyDictionary()
        self._boot = _boot_id()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder, LOCK_WAIT)
            try:
                self._db = _open(folder / "hellos.sqlite")
            except BaseException:
                self._lock.close()
                raise
        except FolderInUse as holder:
            todo = "stop it, or give this one a state_dir and a client_id of its own"
            raise ConfigError([f"state_dir {folder}: a gateway runs with it ({holder}); {todo}"]) from None
        except (OSError, sqlite3.Error) as error:
            raise ConfigError([f"state_dir {explain(error, folder)}"]) from error

    def hellos(self) -> Iterator[tuple[Device, list[HelloRecord]]]:
        """The saved hellos of each device, newest last."""
        with suppress(sqlite3.Error):  # deleting needs disk space
            self._db.execute("DELETE FROM layouts WHERE id NOT IN (SELECT layout FROM hellos)")
        layouts = {row[0]: _from_json(json.loads(row[1])) for row in self._db.execute("SELECT id, layout FROM layouts")}
        self._layout_ids.update({layout: number for number, layout in layouts.items()})
        rows = self._db.execute(
            "SELECT fleet, device, tag, layout, epoch, max_payload, flags, implied, boot, clock FROM hellos"
            " WHERE layout IN (SELECT id FROM layouts) ORDER BY fleet, device, position"
        )
        device, records = None, list[HelloRecord]()
        for fleet, name, tag, layout, epoch, max_payload, flags, implied, boot, clock in rows:
            if device is None or (device.fleet, device.name) != (fleet, name):
                if device is not None:
                    yield device, records
                device, records = Device(fleet, name), []
            if boot is None and epoch is not None:
                implied = None  # earlier versions kept it beside an epoch of the device's own
            hello = Hello(tag, layouts[layout], epoch, max_payload, flags)
            records.append(HelloRecord(hello, implied, clock if boot == self._boot != "" else None))
        if device is not None:
            yield device, records

    def save_hellos(self, changed: Mapping[Device, tuple[HelloRecord, ...]]) -> None:
        """Replace the hellos of each device, newest last. Committed when it returns. Raises StateError."""
        with self._transaction():
            for device, records in changed.items():
                self._replace(device, records)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises StateError."""
        try:
            with self._db:
                self._db.execute("BEGIN")
                yield
        except sqlite3.Error as error:
            self._layout_ids.clear()  # ids of the rolled back transaction do not exist
            raise StateError(f"hellos.sqlite: {error}") from error

    def _replace(self, device: Device, records: tuple[HelloRecord, ...]) -> None:
        rows = [
            (device.fleet, device.name, position, hello.tag, self._layout_id(hello.layout))
            + (hello.epoch, hello.max_payload, hello.flags, record.inferred_epoch)
            + ("" if record.clock is None else self._boot, record.clock)
            for position, record in enumerate(records)
            for hello in (record.hello,)
        ]
        self._db.execute("DELETE FROM hellos WHERE fleet = ? AND device = ?", (device.fleet, device.name))
        self._db.executemany(f"INSERT INTO hellos ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def touch_liveness(self) -> None:
        """The gateway runs: `downtime` counts from now."""
        with suppress(OSError):  # other methods report a failing disk
            self._alive.touch()

    def downtime(self) -> float:
        """Seconds since a gateway last ran here; UNKNOWN_DOWNTIME if that is unknown, or the clock has gone back."""
        try:
            seconds = time.time() - self._alive.stat().st_mtime
        except OSError:
            return UNKNOWN_DOWNTIME
        return max(0.0, seconds) if seconds > -1.0 else UNKNOWN_DOWNTIME

    def filters(self) -> list[str]:
        """The topic filters that the session on the broker may have."""
        return [row[0] for row in self._db.execute("SELECT filter FROM filters ORDER BY filter")]

    def save_filters(self, filters: Iterable[str]) -> None:
        """Replace them. Raises StateError."""
        with self._transaction():
            self._db.execute("DELETE FROM filters")
            self._db.executemany("INSERT INTO filters VALUES (?)", {(each,) for each in filters})

    def save_dead_letter(self, topic: str, payload: bytes, code: Code, detail: str, at: float) -> Path:
        """Append a rejected payload to the file of JSON lines; `at` in Unix seconds. The file; raises StateError.

        A file of DEAD_LETTER_BYTES is renamed and replaces the one before: dead letters cannot fill a disk.
        """
        text = base64.b64encode(payload).decode("ascii")
        line = {"at": at, "topic": topic, "code": int(code), "reason": detail, "payload": text}
        try:
            with self._dead_letters.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")
                full = file.tell() >= DEAD_LETTER_BYTES
            if full:
                self._dead_letters.replace(self._dead_letters.with_name("dead.older.jsonl"))
        except OSError as error:
            raise StateError(f"{self._dead_letters}: {error.strerror}") from error
        return self._dead_letters

    def close(self) -> None:
        """Nothing is lost if it is never called."""
        self._db.close()
        self._lock.close()

    def _layout_id(self, layout: Layout) -> int:
        number = self._layout_ids.get(layout)
        if number is None:
            text = json.dumps(_to_json(layout))
            self._db.execute("INSERT OR IGNORE INTO layouts (layout) VALUES (?)", (text,))
            number = int(self._db.execute("SELECT id FROM layouts WHERE layout = ?", (text,)).fetchone()[0])
            self._layout_ids[layout] = number
        return number


def _to_json(layout: Layout) -> list[Any]:
    models = [[model.name, model.version, _rows(model.metrics)] for model in layout.models]
    return [layout.agent_version, _rows(layout.metrics), models]


def _rows(metrics: tuple[Metric, ...]) -> list[list[Any]]:
    return [[metric.dimension, metric.name, metric.exponent] for metric in metrics]


def _from_json(fields: list[Any]) -> Layout:
    version, metrics, models = fields
    return Layout(
        version,
        tuple(Metric(*metric) for metric in metrics),
        tuple(Model(name, version, tuple(Metric(*metric) for metric in rows)) for name, version, rows in models),
    )
