"""The one retry policy: what is tried again, how long, what ends the wait.

A policy is a value, built once and handed in. It knows neither boto3 nor MQTT: it goes by the errors of the cellar.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_base, stop_never
from tenacity.wait import wait_random_exponential

from gateway.errors import BrokerError, CallFailed, GatewayError, OperatorNeeded

OnRetry = Callable[[BaseException, int], None]
"""Told the error and how many attempts have failed, before each wait."""


class ShuttingDown(GatewayError):
    """The wait was ended, since the gateway stops."""


@dataclass(slots=True)
class Health:
    """For how long the service has been seen working, so that one failing call is told from an outage.

    `seconds` grows by the time between two successes, by `gap` at most: during an outage it stands still.
    """

    gap: float
    seconds: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def succeeded(self) -> None:
        """A call was accepted."""
        now = time.monotonic()
        self.seconds += min(now - self._last, self.gap)
        self._last = now


class _StopGivenUp(stop_base):
    """Stop a call that kept failing for `limit` seconds in which the service worked for others."""

    def __init__(self, health: Health, limit: float) -> None:
        self._health, self._limit, self._seconds_at_start = health, limit, health.seconds

    def __call__(self, retry_state: RetryCallState) -> bool:
        outcome = retry_state.outcome
        if outcome is None or isinstance(outcome.exception(), OperatorNeeded):
            return False
        waited = retry_state.seconds_since_start or 0.0
        return min(waited, self._health.seconds - self._seconds_at_start) >= self._limit


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential with full jitter: after n failures, a wait of between 0 and min(`cap`, `base` * 2**(n - 1)) seconds.

    `stopping` ends every wait at once with ShuttingDown. `give_up_after` in seconds, for calls that may be given up.
    """

    stopping: asyncio.Event
    base: float = 0.2
    cap: float = 20.0
    give_up_after: float = 300.0

    def health(self) -> Health:
        """A fresh record of the service's health, of which one success cannot condemn a call."""
        return Health(gap=min(60.0, self.give_up_after / 2))

    def call(self, health: Health, on_retry: OnRetry) -> AsyncRetrying:
        """For one call, given up by `health`. The last error is raised as it is."""
        return self._retrying((CallFailed, OperatorNeeded), _StopGivenUp(health, self.give_up_after), on_retry)

    def briefly(self, attempts: int, on_retry: OnRetry = lambda error, attempts: None) -> AsyncRetrying:
        """For what a device will ask for again anyway: only what can soon be better, so many times at most."""
        return self._retrying((CallFailed,), stop_after_attempt(attempts), on_retry)

    def connecting(self, on_retry: OnRetry) -> AsyncRetrying:
        """For a connection to the broker: for ever."""
        return self._retrying((BrokerError,), stop_never, on_retry)

    def _retrying(
        self, errors: tuple[type[BaseException], ...], stop: Callable[[RetryCallState], bool], on_retry: OnRetry
    ) -> AsyncRetrying:
        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if error is not None:
                on_retry(error, state.attempt_number)

        return AsyncRetrying(
            sleep=self._sleep,
            stop=stop,
            wait=wait_random_exponential(multiplier=self.base, max=self.cap),
            retry=retry_if_exception_type(errors),
            before_sleep=before_sleep,
            reraise=True,
        )

    async def _sleep(self, seconds: float) -> None:
        if not self.stopping.is_set():
            try:
                await asyncio.wait_for(self.stopping.wait(), seconds)
            except TimeoutError:
                return
        raise ShuttingDown
