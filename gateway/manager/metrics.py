"""The manager's metrics, in a registry of its own. No I/O.

Counts are plain numbers. Those of calls are changed by one thread at a time, of groups once a group, before the calls
are answered; those of limits by the event loop's thread alone. They become Prometheus' families when /metrics is read,
in any thread. So all label values are there from the start, but for operations of the control plane, and those that are
read from the database.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.manager.api.liveness import STATES
from gateway.manager.api.operation_names import CONTROL_OPERATIONS, EDGE_OPERATIONS
from gateway.manager.errors import ApiError
from gateway.manager.groups import Later
from gateway.manager.rollouts import RolloutState
from gateway.manager.store.totals import Totals

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
"""Any operation that does not exist: its name comes from the caller."""
OUTCOMES = ("accepted", "invalid", "unauthorized", "unavailable", "failed")
GROUPS = ("heartbeats", "reads")
LIMITS = ("connections", "head", "body", "bodies", "time")
"""What a request is refused for before it means anything."""
_PREFIX = "edge_manager"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_UNAUTHORIZED = frozenset(
    (
        *("MissingAuthenticationTokenException", "IncompleteSignatureException"),
        *("UnrecognizedClientException", "InvalidSignatureException", "AccessDeniedException"),
    )
)
_STORED = {
    "database_bytes": "Size of the database",
    "history_chunks": "Compacted rows of the history",
    "history_samples": "Samples in these rows",
    "history_bytes": "Bytes of these rows on the disk, about",
    "history_limit_bytes": "Bytes of the history at most",
    "history_recent_rows": "Heartbeats that are not compacted yet",
    "history_lag_seconds": "Age of the oldest of these heartbeats",
}
_CODES = {"ServiceUnavailableException": "unavailable", "InternalServiceException": "failed"} | dict.fromkeys(
    _UNAUTHORIZED, "unauthorized"
)


class Distribution:
    """How many values there were, by bucket."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, *values: float) -> None:
        for value in values:
            self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += sum(values)

    def family(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds itself in Prometheus' cumulative form."""
        counts = list(self._counts)
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(
            labels, [(bound, float(sum(counts[: index + 1]))) for index, bound in enumerate(bounds)], self._sum
        )


class ManagerMetrics(Collector):
    """All metrics of one process. The callables give what somebody else holds, when /metrics is read."""

    def __init__(self) -> None:
        self._calls = {(operation, outcome): 0 for operation in (*EDGE_OPERATIONS, OTHER) for outcome in OUTCOMES}
        self._call_seconds = {operation: Distribution(_SECONDS) for operation in EDGE_OPERATIONS}
        self._group_calls = {group: Distribution(_SIZES) for group in GROUPS}
        self._group_seconds = {group: Distribution(_SECONDS) for group in GROUPS}
        self._refused = dict.fromkeys(LIMITS, 0)
        self._counting = threading.Lock()
        self.waiting: dict[str, Callable[[], int]] = {}
        """By group: how many calls wait for the next one."""
        self.connections: Callable[[], int] = int
        self.connections_limit = 0
        self.transaction_seconds: Mapping[str, float] = {}
        self.history_limit: int | None = None
        """Bytes of the history at most; None: there is no limit."""
        self.totals: Totals | None = None
        """None: the database could not be read."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def count_group(
        self, group: str, operations: Iterable[str], came: Sequence[float], begun: float, outputs: Sequence[object]
    ) -> None:
        """A group is done. `came`: when each call came, `begun`: when the work on the group began, by
        `time.perf_counter`."""
        done = time.perf_counter()
        seconds: dict[str, list[float]] = {}
        for operation, at, output in zip(operations, came, outputs, strict=False):  # `operations` may have no end
            if not isinstance(output, Exception | Later):  # those are not answered yet
                seconds.setdefault(operation, []).append(done - at)
        with self._counting:
            self._group_calls[group].observe(len(outputs))
            self._group_seconds[group].observe(done - begun)
            for operation, values in seconds.items():
                self._calls[operation, "accepted"] += len(values)
                self._call_seconds[operation].observe(*values)

    def count_control(self, operation: str, seconds: float) -> None:
        """A call of the control plane was accepted."""
        with self._counting:
            self._calls[operation, "accepted"] = self._calls.get((operation, "accepted"), 0) + 1
            self._call_seconds.setdefault(operation, Distribution(_SECONDS)).observe(seconds)

    def count_error(self, operation: str, error: ApiError) -> None:
        """A call was answered with that error."""
        known = operation if operation in EDGE_OPERATIONS or operation in CONTROL_OPERATIONS else OTHER
        key = known, _CODES.get(error.code, "invalid")
        with self._counting:
            self._calls[key] = self._calls.get(key, 0) + 1

    def count_refused(self, limit: str) -> None:
        """A request, or a connection, was refused for one of LIMITS."""
        self._refused[limit] += 1

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, whose content type is CONTENT_TYPE. It takes some milliseconds
        where there are many fleets."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        with self._counting:
            calls, call_seconds = dict(self._calls), dict(self._call_seconds)
        yield _counters("calls", "Calls that were answered", calls, "operation", "outcome")
        text = "Seconds from the arrival of a call that was accepted to the end of its transaction"
        yield _histograms("call_seconds", text, call_seconds, "operation")
        yield _histograms("group_calls", "Calls that shared one transaction", self._group_calls, "group")
        text = "Seconds that a group's transactions took, with the commit"
        yield _histograms("group_seconds", text, self._group_seconds, "group")
        waiting = {(group,): size() for group, size in self.waiting.items()}
        yield _gauges("waiting_calls", "Calls that wait for the next group", waiting, "group")
        yield _gauges("connections", "Open connections", {(): self.connections()})
        yield _gauges("connections_limit", "Connections that may be open at once", {(): self.connections_limit})
        refused = {(limit,): count for limit, count in self._refused.items()}
        yield _counters("requests_refused", "Requests refused by a limit of the HTTP server", refused, "limit")
        yield from self._database()

    def _database(self) -> Iterator[Metric]:
        totals = self.totals
        yield _gauges("database_up", "1 while the database can be read", {(): int(totals is not None)})
        seconds = {(kind,): each for kind, each in sorted(self.transaction_seconds.items())}
        yield _gauges("database_transaction_seconds", "Seconds of the last transaction", seconds, "kind")
        values: dict[str, float] = {}
        if totals is not None:
            values = {
                "database_bytes": totals.database_bytes,
                "history_chunks": totals.history.chunks,
                "history_samples": totals.history.samples,
                "history_bytes": totals.history.size,
                "history_recent_rows": totals.recent_rows,
                "history_lag_seconds": totals.lag,
            }
        if self.history_limit is not None:
            values["history_limit_bytes"] = self.history_limit
        for name, text in _STORED.items():
            yield _gauges(name, text, {(): values[name]} if name in values else {})
        devices = _in_all_states(totals.devices, STATES) if totals else {}
        yield _gauges("devices", "Registered devices", devices, "fleet", "state")
        rollouts = _in_all_states(totals.rollouts, [str(state) for state in RolloutState]) if totals else {}
        yield _gauges("rollouts", "Deployments", rollouts, "fleet", "state")
        models = totals.models if totals else {}
        yield _gauges("devices_by_model", "Devices that run a version", models, "fleet", "model", "version")


def _in_all_states(counts: Mapping[tuple[str, str], int], states: Iterable[str]) -> dict[tuple[str, str], int]:
    """With zeros for the states that a fleet has not: an alert compares a number with what it was."""
    fleets = dict.fromkeys(fleet for fleet, _ in counts)
    return {(fleet, state): counts.get((fleet, state), 0) for fleet in fleets for state in states}


def _counters(name: str, text: str, counts: Mapping[Any, float], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _gauges(name: str, text: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histograms(name: str, text: str, histograms: Mapping[str, Distribution], label: str) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for value, histogram in histograms.items():
        histogram.family(family, [value])
    return family
