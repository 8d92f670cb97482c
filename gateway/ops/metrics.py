"""What the gateway counts, in a registry of its own that is handed around: no process-wide default is touched.

Counting is all it does. Counts are plain numbers, made into Prometheus' families when somebody asks: its own counters
take a lock for each `inc`, which a heartbeat would pay five times.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from gateway.errors import Code

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "edge_gateway"
_CHANNELS = ("hello", "hb", "get", "read")
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
    """How often a time fell between two bounds."""

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
    """Label values -> the number that counts them, made at first use and kept.

    Keys are words of our code, never of a device: each is a time series for ever.
    """

    def __init__(self, make: Callable[[], M], known: tuple[K, ...] = ()) -> None:
        super().__init__((key, make()) for key in known)  # known ones are exposed as 0 from the start
        self._make = make

    def __missing__(self, key: K) -> M:
        child = self[key] = self._make()
        return child


class Metrics(Collector):
    """All metrics of one gateway, as `metrics.received["hb"].inc()` or
    `metrics.calls["SendHeartbeat", "accepted"].inc()`.
    """

    def __init__(self) -> None:
        codes = tuple(code for code in Code if code is not Code.ACCEPTED)
        self.received: Labeled[str, Counter] = Labeled(Counter, _CHANNELS)
        self.refused: Labeled[Code, Counter] = Labeled(Counter, codes)
        self.calls: Labeled[tuple[str, str], Counter] = Labeled(Counter)
        self.retries: Labeled[tuple[str, str], Counter] = Labeled(Counter)
        self.call_seconds: Labeled[str, Histogram] = Labeled(Histogram)
        self.settled, self.plans_published, self.heartbeats_merged = Counter(), Counter(), Counter()
        self.blocks_published, self.dead_letters_kept, self.breaker_opened = Counter(), Counter(), Counter()
        self.over_rate = Counter()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)
        self.connected = self._gauge("connected", "1 while connected to the broker and subscribed")
        self.reading_paused = self._gauge("reading_paused", "1 while the intake is full and the broker keeps the rest")
        self.unsettled = self._gauge("unsettled_messages", "Messages taken in and not yet acknowledged to the broker")
        self.call_window = self._gauge("call_window", "Calls to the service that may be under way at once")
        self.devices_in_line = self._gauge("devices_in_line", "Devices whose next call waits for room among them")
        self.unsettled_bytes = self._gauge("unsettled_bytes", "Bytes of the payloads of these messages")
        self.devices = self._gauge("devices", "Devices that the gateway keeps something of in memory")

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, whose content type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Prometheus asks."""
        received = {(channel,): count for channel, count in self.received.items()}
        refused = {(code.name.lower(),): count for code, count in self.refused.items()}
        yield _family("messages_received", "Messages taken from the broker", received, "channel")
        yield _family("messages_refused", "Messages answered with an error, by the name of its code", refused, "code")
        yield _family("calls", "Attempts of calls to the service", self.calls, "operation", "outcome")
        yield _family("call_retries", "Repetitions of calls to the service", self.retries, "operation", "reason")
        for name, text, count in (
            ("messages_settled", "Messages acknowledged to the broker after their last effect", self.settled),
            ("plans_published", "Deployment plans published to devices", self.plans_published),
            ("blocks_published", "Blocks of model files published to devices", self.blocks_published),
            ("heartbeats_merged", "Heartbeats that went out in calls of SendHeartbeat", self.heartbeats_merged),
            ("messages_over_rate", "Messages beyond what their device may send (they are refused too)", self.over_rate),
            ("breaker_opened", "Times the service was found to fail for all", self.breaker_opened),
            ("dead_letters_kept", "Refused payloads kept because nobody subscribes to dead", self.dead_letters_kept),
        ):
            yield _family(name, text, {(): count})
        yield self._seconds()

    def _seconds(self) -> HistogramMetricFamily:
        text = "Time of one attempt of a call to the service"
        family = HistogramMetricFamily(f"{_PREFIX}_call_seconds", text, labels=["operation"])
        for operation, spread in self.call_seconds.items():
            family.add_metric([operation], spread.buckets(), spread.total)
        return family

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, registry=self.registry)


def _family(name: str, text: str, counts: Mapping[Any, Counter], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count.value)
    return family
