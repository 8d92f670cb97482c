"""Reports what the broker dropped: a metric, and a log line that says how many since when."""

from datetime import UTC, datetime

import structlog

from gateway.ops.metrics import Counter, Metrics

_log = structlog.get_logger()


class DropMonitor:
    """`on_total` is the callback of DroppedCount. What was dropped before the first total is not counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._total: int | None = None
        self._at = 0.0

    def on_total(self, total: int, now: float) -> None:
        """So many since the start of the broker; `now` in Unix seconds."""
        if self._metrics.broker_dropped is None:
            self._metrics.broker_dropped = Counter()
        before, since = self._total, self._at
        self._total, self._at = total, now
        if before is None or total == before:
            return
        dropped = total - before if total > before else total  # less than before: the broker has started again
        self._metrics.broker_dropped.inc(dropped)
        if dropped:
            event = (
                "the broker dropped messages, confirmed ones too: a client's queue was full; its log names the client"
            )
            _log.error(event, dropped=dropped, since=datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"))
