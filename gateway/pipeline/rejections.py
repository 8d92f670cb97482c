"""Counts what one sender can cause at any rate, and reports it once a second: to reject must cost less than to send.

What is over a device's rate is not even read while that is certain: the session counts it by its topic. What the counts
stand for is in the payload of the first message of each report.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.errors import Code, MessageError
from gateway.mqtt import Delivery, MqttSession
from gateway.ops import Metrics
from gateway.pipeline.rate_limiter import Sender

REPORT_EVERY = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Report:
    """`count` messages of one sender that were rejected with the same code. `delivery` and `error` are of the first."""

    delivery: Delivery
    error: MessageError
    sender: Sender
    count: int


@dataclass(slots=True)
class _Rejected:
    """Of one sender and code, since the last report. `unread`: topic -> when the session reads it again."""

    sender: Sender
    reported_at: float = float("-inf")
    delivery: Delivery | None = None
    error: MessageError | None = None
    count: int = 0
    unread: dict[str, float] = field(default_factory=dict)


class RejectionCounter:
    """The caller acknowledges what it adds; the session acknowledges what it rejects unread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._rejected: dict[tuple[Sender, Code], _Rejected] = {}

    def __len__(self) -> int:
        return len(self._rejected)

    def start(self, session: MqttSession) -> None:
        """Before the first message."""
        self._session = session

    def add(self, sender: Sender, delivery: Delivery, error: MessageError, now: float) -> Report | None:
        """One more. What is to be reported now; None: it is counted, and `due` reports it later."""
        rejected = self._rejected.setdefault((sender, error.code), _Rejected(sender))
        rejected.count += 1
        if rejected.delivery is None:
            rejected.delivery, rejected.error = delivery, error
        return self._report(rejected, now)

    def reject_unread(self, sender: Sender, code: Code, topic: str, until: float, size: int) -> None:
        """What was added and not reported is followed by more: until `until`, messages of the topic with payloads of
        `size` bytes at least are not read."""
        self._rejected[sender, code].unread[topic] = until
        self._session.reject_until(topic, until, size)

    def due(self, now: float) -> Iterator[Report]:
        """What is to be reported now; at `now` infinite, the last time, all that was not reported. Forgets who caused
        nothing since the last report."""
        for key, rejected in list(self._rejected.items()):
            report = self._report(rejected, now)
            if report is not None:
                yield report
            elif not rejected.count and now - rejected.reported_at >= REPORT_EVERY:
                del self._rejected[key]

    def _report(self, rejected: _Rejected, now: float) -> Report | None:
        self._take_unread(rejected, now)
        delivery, error, count = rejected.delivery, rejected.error, rejected.count
        if delivery is None or error is None or now - rejected.reported_at < REPORT_EVERY:
            return None
        for topic in rejected.unread:
            self._session.stop_rejecting(topic)  # the first message of the next report is read
        rejected.unread.clear()
        rejected.reported_at, rejected.delivery, rejected.error, rejected.count = now, None, None, 0
        if count > 1:
            error.detail += f" ({count} messages)"
        return Report(delivery, error, rejected.sender, count)

    def _take_unread(self, rejected: _Rejected, now: float) -> None:
        """Count what the session has counted."""
        for topic, until in list(rejected.unread.items()):
            count = self._session.take_rejected(topic)
            if count:
                rejected.count += count
                self._metrics.rate_limited.inc(count)
                self._metrics.acknowledged.inc(count)
                channel = topic.rpartition("/")[2]
                if channel in self._metrics.received:
                    self._metrics.received[channel].inc(count)
            elif now >= until:
                self._session.stop_rejecting(topic)
                del rejected.unread[topic]
