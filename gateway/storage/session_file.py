"""When the gateway was last connected to its broker, over restarts: a small file for each client id and broker.

The file's date is that time, so that it is kept on a full disk too. It must never decide what a loss is.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gateway.mqtt import FOR_EVER, SessionLoss, SessionRecord
from gateway.protocol import LATEST


class SessionFile:
    """`broker`: its URL without credentials. What the disk does not take is kept in memory, for this run."""

    def __init__(self, folder: Path, client_id: str, broker: str) -> None:
        self._names = {"client_id": client_id, "broker": broker}
        digest = hashlib.sha256(f"{client_id}\n{broker}".encode()).hexdigest()
        self._path = folder / f"session-{digest[:16]}.json"
        self._record = self._read()

    @property
    def record(self) -> SessionRecord | None:
        """None: nothing is known of an earlier connection."""
        return self._record

    def _read(self) -> SessionRecord | None:
        try:
            connected = min(max(self._path.stat().st_mtime, 0), LATEST)
        except OSError:
            return None
        try:
            content = json.loads(self._path.read_bytes())
            return SessionRecord(connected, int(content["expiry"]), _loss(content["loss"]))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return SessionRecord(connected, FOR_EVER)  # damaged: there was a session, and no more is known

    def save(self, record: SessionRecord) -> None:
        """Replace it."""
        self._record = record
        content = self._names | {"expiry": record.expiry, "loss": record.loss and asdict(record.loss)}
        new = self._path.with_suffix(".new")
        with suppress(OSError):  # other methods report a failing disk
            new.write_text(json.dumps(content) + "\n", "utf-8")
            os.utime(new, (record.connected, record.connected))
            new.replace(self._path)

    def touch(self, now: float) -> None:
        """The gateway is connected and subscribed, at that Unix second."""
        if self._record is not None:
            self._record = replace(self._record, connected=now)
            with suppress(OSError):
                os.utime(self._path, (now, now))


def _loss(content: Any) -> SessionLoss | None:
    """Raises TypeError or ValueError for what is no loss."""
    if content is None:
        return None
    loss = SessionLoss(**content)
    if not (0 <= loss.since <= LATEST and 0 <= loss.until <= LATEST and isinstance(loss.expired, bool)):
        raise ValueError(content)
    return loss
