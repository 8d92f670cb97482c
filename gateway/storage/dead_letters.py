"""Dead letters without a subscriber: `dead.jsonl`, a JSON line each, and `dead.older.jsonl`, what was kept of it.

While the older file is written, what is added to it is `dead.full.jsonl`.

Must never keep more of one device than of another that sent as much.
"""

import base64
import errno
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

from gateway.errors import Code, StateError
from gateway.storage.damaged_files import set_aside

DEAD_LETTER_BYTES = 64 * 1024 * 1024
"""Of each of the two files at most, about."""
CLOSE_WAIT = 2.0
"""Seconds."""


class DeadLetterFile:
    """Appends to `dead.jsonl` of a folder. When it is full, a thread writes `dead.older.jsonl` anew of both.

    Each device has the same share of that, and less than that takes nothing from others; the newest of a device stay.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._full = folder / "dead.jsonl", folder / "dead.full.jsonl"
        self._older = folder / "dead.older.jsonl"
        self._sharing: Thread | None = None

    def append(self, topic: str, payload: bytes, code: Code, detail: str, at: float) -> Path:
        """A rejected payload; `at` in Unix seconds. The file; raises StateError."""
        text = base64.b64encode(payload).decode("ascii")
        line = json.dumps({"at": at, "topic": topic, "code": int(code), "reason": detail, "payload": text})
        try:
            try:
                full = self._append(line.encode("ascii") + b"\n")
            except (IsADirectoryError, PermissionError) as error:
                if not os.path.lexists(self._path):
                    raise
                set_aside(self._path, error)
                full = self._append(line.encode("ascii") + b"\n")
            if full:
                self._share()
        except OSError as error:
            raise StateError(f"{self._path}: {error.strerror}") from error
        return self._path

    def _append(self, line: bytes) -> bool:
        """Whether the file is full now. A line is there whole or not at all, unless the machine stops meanwhile."""
        with self._path.open("a+b", buffering=0) as file:
            size = file.seek(0, 2)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # of a machine that stopped: only that line cannot be read
                    line = b"\n" + line
            try:
                written = file.write(line)
                if written < len(line):
                    file.write(line[written:])  # raises the reason
            except OSError:
                file.truncate(size)
                raise
            return size + len(line) >= DEAD_LETTER_BYTES

    def close(self) -> None:
        """Wait for the thread, for CLOSE_WAIT at most; what it has not done is done when `dead.jsonl` is full again."""
        if self._sharing is not None:
            self._sharing.join(CLOSE_WAIT)

    def _share(self) -> None:
        """Start the thread, unless it runs: then `dead.jsonl` grows meanwhile. Raises OSError."""
        if self._sharing is None or not self._sharing.is_alive():
            if not os.path.lexists(self._full):  # else it is of a run that ended too early
                self._path.replace(self._full)
            self._sharing = Thread(target=self._write_older, name="dead letters", daemon=True)
            self._sharing.start()

    def _write_older(self) -> None:
        """Write `dead.older.jsonl` of both files. Without the disk space for that it is what `dead.jsonl` was."""
        new = self._older.with_suffix(".new")
        try:
            sizes = Counter[bytes]()
            for sender, line in self._lines():
                sizes[sender] += len(line)
            share = fair_share(sizes.values(), DEAD_LETTER_BYTES)
            with new.open("wb") as file:
                for sender, line in self._lines():
                    if sizes[sender] > share:
                        sizes[sender] -= len(line)  # the oldest first
                    else:
                        file.write(line)
            new.replace(self._older)
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            if error.errno in (errno.EMFILE, errno.ENFILE):
                return  # it is tried again when `dead.jsonl` is full again
            with suppress(OSError):  # tried again, too
                for each in (self._full, self._older):
                    if each.is_dir():
                        set_aside(each, "it is a directory")
                self._full.replace(self._older)
        else:
            with suppress(OSError):  # its letters are there twice then
                self._full.unlink()

    def _lines(self) -> Iterator[tuple[bytes, bytes]]:
        """Sender and line of each letter, the oldest first."""
        for path in (self._older, self._full):
            with suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    # {"at": 1.5, "topic": "edge/fleet/device/hb", ...: what JSON would cost is saved
                    parts = line.split(b'"', 6)
                    yield parts[5].rpartition(b"/")[0] if len(parts) > 5 else b"", line


def fair_share(sizes: Iterable[int], most: int) -> int:
    """The largest share of each, so that all together have at most `most`; who has less leaves the rest to others."""
    waiting = sorted(sizes)
    left = most
    for count, size in zip(range(len(waiting), 0, -1), waiting, strict=True):
        if size * count > left:
            return left // count
        left -= size
    return most
