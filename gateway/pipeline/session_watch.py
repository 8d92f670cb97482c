"""Logs and counts each time that the broker has lost the gateway's session, and records when it was last connected."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from gateway.mqtt import SessionRecord, find_loss
from gateway.ops import Metrics
from gateway.storage import SessionFile

_log = structlog.get_logger()


class SessionWatch:
    def __init__(self, file: SessionFile, metrics: Metrics) -> None:
        self._file, self._metrics = file, metrics

    def connected(self, session_present: bool, expiry: int) -> None:
        """`expiry`: seconds that the broker keeps the session after this connection."""
        now, record = time.time(), self._file.record
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
        """The gateway is connected and subscribed now."""
        self._file.touch(time.time())
