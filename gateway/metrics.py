"""What the gateway counts, in a registry of its own that is handed around: no process-wide default is touched.

Counting is all it does. A label's child is looked up in a dict after its first use, which keeps the hot path cheap.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.errors import Code

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "edge_gateway"
_CHANNELS = ("hello", "hb", "get", "read")
# From a manager on the same host to a service across an ocean that is being retried, in seconds.
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

K = TypeVar("K")
M = TypeVar("M")


class Children(dict[K, M], Generic[K, M]):
    """Label values -> the metric that counts them, made at first use and kept.

    Keys are words of our code, never of a device: each is a time series for ever.
    """

    def __init__(self, make: Callable[[K], M], known: tuple[K, ...] = ()) -> None:
        super().__init__((key, make(key)) for key in known)  # known ones are exposed as 0 from the start
        self._make = make

    def __missing__(self, key: K) -> M:
        child = self[key] = self._make(key)
        return child


class Metrics:
    """All metrics of one gateway, as `metrics.received["hb"].inc()` or
    `metrics.calls["SendHeartbeat", "accepted"].inc()`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._count_messages()
        self._count_calls()
        self._gauge_state()

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, whose content type is CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _count_messages(self) -> None:
        received = self._counter("messages_received", "Messages taken from the broker", "channel")
        refused = self._counter("messages_refused", "Messages answered with an error, by the name of its code", "code")
        codes = tuple(code for code in Code if code is not Code.ACCEPTED)
        self.received: Children[str, Counter] = Children(received.labels, _CHANNELS)
        self.refused: Children[Code, Counter] = Children(lambda code: refused.labels(code.name.lower()), codes)
        self.settled = self._counter("messages_settled", "Messages acknowledged to the broker after their last effect")
        self.plans_published = self._counter("plans_published", "Deployment plans published to devices")

    def _count_calls(self) -> None:
        calls = self._counter("calls", "Attempts of calls to the service", "operation", "outcome")
        retries = self._counter("call_retries", "Repetitions of calls to the service", "operation", "reason")
        seconds = Histogram(
            f"{_PREFIX}_call_seconds",
            "Time of one attempt of a call to the service",
            ("operation",),
            registry=self.registry,
            buckets=_CALL_BUCKETS,
        )
        self.calls: Children[tuple[str, str], Counter] = Children(lambda key: calls.labels(*key))
        self.retries: Children[tuple[str, str], Counter] = Children(lambda key: retries.labels(*key))
        self.call_seconds: Children[str, Histogram] = Children(seconds.labels)
        self.heartbeats_merged = self._counter(
            "heartbeats_merged", "Heartbeats that went out in SendHeartbeat calls; over the calls: heartbeats a call"
        )

    def _gauge_state(self) -> None:
        self.connected = self._gauge("connected", "1 while connected to the broker and subscribed")
        self.reading_paused = self._gauge("reading_paused", "1 while the intake is full and the broker keeps the rest")
        self.unsettled = self._gauge("unsettled_messages", "Messages taken in and not yet acknowledged to the broker")
        self.waiting = self._gauge(
            "waiting_messages", "Messages that wait for their device's call in flight, or a hello"
        )
        self.devices = self._gauge("devices", "Devices that the gateway keeps something of in memory")
        self.dead_letters_kept = self._gauge(
            "dead_letters_kept", "Refused payloads kept because nobody subscribes to dead"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, registry=self.registry)
