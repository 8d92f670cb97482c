"""Tells the operator how the service is doing: numbers for each attempt, a line when an outage begins, lasts and ends.

Only watches; nothing depends on what it says.
"""

import time

import structlog

from gateway.cloud.availability import CircuitBreaker
from gateway.errors import CloudError, OperatorError
from gateway.ops.metrics import Metrics
from gateway.protocol.service_calls import Call, SendHeartbeat

REMIND = 30.0
"""Seconds between two lines about calls that keep failing."""

_log = structlog.get_logger()


class CallMonitor:
    """Hears of every attempt, good or bad."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._failing = 0
        self._open = False
        self._told_at = float("-inf")

    def on_attempt(self, call: Call, seconds: float, error: CloudError | None) -> None:
        """An attempt ended after `seconds`."""
        operation = type(call).__name__
        self._metrics.calls[operation, "accepted" if error is None else error.reason].inc()
        self._metrics.call_seconds[operation].observe(seconds)
        if error is None:
            if isinstance(call, SendHeartbeat):
                self._metrics.heartbeats_merged.inc(call.heartbeats)
            self._working()

    def on_retry(self, call: Call, error: BaseException, attempts: int) -> None:
        """An attempt failed, and the call will be repeated."""
        reason = error.reason if isinstance(error, CloudError) else type(error).__name__
        self._metrics.retries[type(call).__name__, reason].inc()
        self._failing += 1
        now = time.monotonic()
        if now - self._told_at < REMIND:
            return
        self._told_at = now
        facts = {"device": str(call.device), "error": str(error), "attempts": attempts, "failed_calls": self._failing}
        if isinstance(error, OperatorError):
            _log.error(
                "the service needs you: nothing is settled until this is mended; the broker keeps it all", **facts
            )
        else:
            _log.warning("a call failed and is repeated; the broker keeps what waits", **facts)

    def on_limit_change(self, breaker: CircuitBreaker) -> None:
        """More calls at once may be under way, or fewer."""
        self._metrics.call_window.set(breaker.limit)
        if breaker.open and not self._open:
            self._metrics.breaker_opened.inc()
            _log.warning("the service fails for all: a few calls try it from time to time, the broker keeps the rest")
        elif self._open and not breaker.open:
            _log.info("the service answers again: what waits is sent, a few calls at once first, then more")
        self._open = breaker.open

    def _working(self) -> None:
        if self._failing and time.monotonic() - self._told_at >= 1.0:
            _log.info("the service accepts calls again", failed_calls=self._failing)
            self._failing, self._told_at = 0, float("-inf")
