"""Reports the calls to the Edge Manager: metrics of each attempt, a log line when an outage begins, lasts and ends.

It must never influence a call.
"""

import time

import structlog

from gateway.cloud import CircuitBreaker
from gateway.errors import CloudError, OperatorError
from gateway.ops.metrics import Metrics
from gateway.protocol import Call, SendHeartbeat

LOG_INTERVAL = 30.0
"""Seconds between two lines about calls that keep failing."""

_log = structlog.get_logger()


class CallMonitor:
    """Its methods are callbacks of EdgeManagerClient."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._failed_calls = 0
        self._open = False
        self._logged_at = float("-inf")

    def on_attempt(self, call: Call, seconds: float, error: CloudError | None) -> None:
        """An attempt ended after `seconds`; `error` None: it was accepted."""
        operation = type(call).__name__
        self._metrics.calls[operation, "accepted" if error is None else error.reason].value += 1
        self._metrics.call_seconds[operation].observe(seconds)
        if error is not None:
            return
        if isinstance(call, SendHeartbeat):
            self._metrics.heartbeats_accepted.value += call.heartbeats
        if self._failed_calls and time.monotonic() - self._logged_at >= 1.0:
            _log.info("Edge Manager accepts calls again", failed_calls=self._failed_calls)
            self._failed_calls, self._logged_at = 0, float("-inf")

    def on_retry(self, call: Call, error: CloudError, attempts: int) -> None:
        """An attempt failed, and the call will be retried."""
        self._metrics.retries[type(call).__name__, error.reason].inc()
        self._failed_calls += 1
        now = time.monotonic()
        if now - self._logged_at < LOG_INTERVAL:
            return
        self._logged_at = now
        fields = {"device": str(call.device), "error": str(error), "attempts": attempts}
        fields["failed_calls"] = self._failed_calls
        if isinstance(error, OperatorError):
            _log.error(
                "Edge Manager rejects our calls (credentials, permissions or endpoint);"
                " messages stay queued at the broker",
                **fields,
            )
        else:
            _log.warning("a call to Edge Manager failed and is retried; messages stay queued at the broker", **fields)

    def on_limit_change(self, breaker: CircuitBreaker) -> None:
        """More or fewer calls may be in flight."""
        self._metrics.concurrency_limit.set(breaker.limit)
        if breaker.open and not self._open:
            self._metrics.breaker_opened.inc()
            _log.warning(
                "Edge Manager fails for all devices; calls stop except for a few probes,"
                " messages stay queued at the broker"
            )
        elif self._open and not breaker.open:
            _log.info("Edge Manager answers again; queued messages are sent, with a growing number of calls")
        self._open = breaker.open
