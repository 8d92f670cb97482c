"""Logs and counts each time that the broker has lost the gateway's session, and records when it was last connected."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from gateway.clock import monotonic
from gateway.mqtt import SessionRecord, find_loss
from gateway.ops import Metrics
from gateway.storage import SessionFile

_log = structlog.get_logger()


class _Connection(NamedTuple):
    """`at`: on the monotonic clock."""

    at: float
    session_present: bool
    expiry: int


class SessionWatch:
    def __init__(self, file: SessionFile, metrics: Metrics) -> None:
        self._file, self._metrics = file, metrics
        self._unrecorded: _Connection | None = None

    def connected(self, session_present: bool, expiry: int) -> None:
        """The next `record` records it. `expiry`: seconds that the broker keeps the session after this connection."""
        if self._unrecorded is not None:
            session_present = session_present and self._unrecorded.session_present
        self._unrecorded = _Connection(monotonic(), session_present, expiry)

    def record(self) -> None:
        """The wall clock is right."""
        if self._unrecorded is None:
            return
        (at, session_present, expiry), self._unrecorded = self._unrecorded, None
        now, record = time.time() - (monotonic() - at), self._file.record
        loss = find_loss(record, session_present, now)
        if loss is not None:
            self._metrics.sessions_lost.inc()
            event = "the broker has lost our session: what waited there, or came since then, is lost"
            if loss.expired:
                event = "our session at the broker has expired: what waited there, or came since then, is lost"
            since = datetime.fromtimestamp(loss.since, UTC).isoformat(timespec="seconds")
            _log.error(event, since=since, seconds=round(loss.until - loss.since))
        if record is None:
            record = SessionRecord(now, expiry)
        self._file.save(replace(record, connected=now, expiry=expiry, loss=loss or record.loss))

    def receiving(self) -> None:
        """The gateway is connected and subscribed now, and the wall clock is right."""
        self._file.touch(time.time())
