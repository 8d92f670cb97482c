"""The gateway's metrics, in a registry of its own. It must never touch the process-wide default registry.

Counts are plain numbers. They become Prometheus' families when /metrics is read: Prometheus' own counters take a lock
for each `inc`, which each heartbeat would pay five times.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.errors import Code

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
DEPRECATED = {
    "messages_settled": "messages_acknowledged",
    "unsettled_messages": "unacknowledged_messages",
    "unsettled_bytes": "unacknowledged_bytes",
    "messages_refused": "messages_rejected",
    "messages_over_rate": "messages_rate_limited",
    "heartbeats_merged": "heartbeats_accepted",
    "breaker_opened": "circuit_breaker_opened",
    "call_window": "concurrent_calls_limit",
    "devices_in_line": "devices_waiting_to_call",
}
"""Old name -> new name, without prefix and suffix. Both are exported, with the same values, for one release."""
_PREFIX = "edge_gateway"
_CHANNELS = ("hello", "hb", "get", "read", "live")
# From a manager on the same host to a service across an ocean, in seconds.
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

K = TypeVar("K")
M = TypeVar("M")


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        self.value += by


class Histogram:
    """Counts of times, in seconds, by bucket."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_CALL_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_CALL_BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus' cumulative form: (upper bound, how many were at or under it)."""
        bounds = [str(bound) for bound in _CALL_BUCKETS] + ["+Inf"]
        return [(bound, float(sum(self.counts[: index + 1]))) for index, bound in enumerate(bounds)]


class Labeled(dict[K, M], Generic[K, M]):
    """Label values -> their counter or histogram, created at first use.

    Label values must never come from a device: each one is a time series that is kept.
    """

    def __init__(self, make: Callable[[], M], known: tuple[K, ...] = ()) -> None:
        super().__init__((key, make()) for key in known)  # exported as 0 from the start
        self._make = make

    def __missing__(self, key: K) -> M:
        child = self[key] = self._make()
        return child


class Metrics(Collector):
    """All metrics of one gateway, as `metrics.received["hb"].inc()` or
    `metrics.calls["SendHeartbeat", "accepted"].inc()`. `lost_log_events`: how many events the log has lost.
    """

    def __init__(self, lost_log_events: Callable[[], int] = int) -> None:
        self._lost_log_events = lost_log_events
        codes = tuple(code for code in Code if code is not Code.ACCEPTED)
        self.received: Labeled[str, Counter] = Labeled(Counter, _CHANNELS)
        self.rejected: Labeled[Code, Counter] = Labeled(Counter, codes)
        self.calls: Labeled[tuple[str, str], Counter] = Labeled(Counter)
        self.retries: Labeled[tuple[str, str], Counter] = Labeled(Counter)
        self.call_seconds: Labeled[str, Histogram] = Labeled(Histogram)
        self.acknowledged, self.rate_limited, self.dead_letters_kept = Counter(), Counter(), Counter()
        self.plans_published, self.blocks_published, self.publications_refused = Counter(), Counter(), Counter()
        self.sessions_lost, self.retained_deleted = Counter(), Counter()
        self.heartbeats_accepted, self.breaker_opened = Counter(), Counter()
        self.broker_dropped: Counter | None = None
        """None: the broker does not say."""
        self._gauges: list[Gauge] = []
        self.connected = self._gauge("connected", "1 while connected to the broker and subscribed")
        self.reading_paused = self._gauge("reading_paused", "1 while intake is reached; the broker keeps the messages")
        self.unacknowledged = self._gauge("unacknowledged_messages", "Messages received and not yet acknowledged")
        self.unacknowledged_bytes = self._gauge("unacknowledged_bytes", "Bytes of the payloads of these messages")
        self.concurrency_limit = self._gauge("concurrent_calls_limit", "Calls that may be in flight at once")
        self.devices_waiting = self._gauge("devices_waiting_to_call", "Devices whose next call waits for this limit")
        self.devices = self._gauge("devices", "Devices of which the gateway has state in memory")
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def _gauge(self, name: str, text: str) -> Gauge:
        gauge = Gauge(f"{_PREFIX}_{name}", text, registry=None)
        self._gauges.append(gauge)
        return gauge

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, whose content type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        families = {family.name: family for family in self._families()}
        yield from families.values()
        for old, new in DEPRECATED.items():
            family = families[f"{_PREFIX}_{new}"]
            suffix = "_total" if family.type == "counter" else ""
            same = Metric(f"{_PREFIX}_{old}", f"Deprecated: use {family.name}{suffix}", family.type)
            same.samples = [each._replace(name=each.name.replace(new, old, 1)) for each in family.samples]
            yield same

    def _families(self) -> Iterator[Metric]:
        received = {(channel,): count for channel, count in self.received.items()}
        rejected = {(code.name.lower(),): count for code, count in self.rejected.items()}
        yield _counters("messages_received", "Messages received from the broker", received, "channel")
        yield _counters("messages_rejected", "Messages answered with an error, by its code", rejected, "code")
        yield _counters("calls", "Attempts of calls to the Edge Manager", self.calls, "operation", "outcome")
        yield _counters("call_retries", "Failed calls that are retried", self.retries, "operation", "reason")
        for name, text, count in (
            ("messages_acknowledged", "Messages acknowledged to the broker", self.acknowledged),
            ("plans_published", "Deployment plans published to devices", self.plans_published),
            ("blocks_published", "Blocks of model files published to devices", self.blocks_published),
            ("publications_refused", "Publications that the broker did not take", self.publications_refused),
            ("retained_deleted", "Times that all retained messages of a device were deleted", self.retained_deleted),
            ("sessions_lost", "Times that the broker did not keep our session", self.sessions_lost),
            ("heartbeats_accepted", "Heartbeats accepted by the Edge Manager", self.heartbeats_accepted),
            ("messages_rate_limited", "Messages above device_rate (they are also rejected)", self.rate_limited),
            ("circuit_breaker_opened", "Times that calls failed for all devices", self.breaker_opened),
            ("dead_letters_kept", "Rejected payloads kept in a file: no subscriber of dead", self.dead_letters_kept),
        ):
            yield _counters(name, text, {(): count})
        dropped = {} if self.broker_dropped is None else {(): self.broker_dropped}
        yield _counters("broker_messages_dropped", "Messages that the broker dropped: a queue was full", dropped)
        lost = Counter()
        lost.inc(self._lost_log_events())
        yield _counters("log_events_lost", "Log events that could not be written", {(): lost})
        for gauge in self._gauges:
            yield from gauge.collect()
        text = "Time of one attempt of a call to the Edge Manager"
        seconds = HistogramMetricFamily(f"{_PREFIX}_call_seconds", text, labels=["operation"])
        for operation, histogram in self.call_seconds.items():
            seconds.add_metric([operation], histogram.buckets(), histogram.total)
        yield seconds


def _counters(name: str, text: str, counts: Mapping[Any, Counter], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count.value)
    return family
