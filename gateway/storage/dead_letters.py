"""Dead letters without a subscriber: `dead.jsonl`, a JSON line each, and `dead.older.jsonl`, what was kept of it.

Must never keep more of one device than of another that sent as much.
"""

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gateway.errors import Code, StateError
from gateway.storage.damaged_files import set_aside

DEAD_LETTER_BYTES = 64 * 1024 * 1024
"""Of each of the two files at most, about."""


class DeadLetterFile:
    """Appends to `dead.jsonl` of a folder. When it is full, `dead.older.jsonl` is written anew of both.

    Each device has the same share of that, and less than that takes nothing from others; the newest of a device stay.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._older = folder / "dead.jsonl", folder / "dead.older.jsonl"

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

    def _share(self) -> None:
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
            self._path.unlink()
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            if self._older.is_dir():
                set_aside(self._older, "it is a directory")
            self._path.replace(self._older)

    def _lines(self) -> Iterator[tuple[bytes, bytes]]:
        """Sender and line of each letter, the oldest first."""
        for path in (self._older, self._path):
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
