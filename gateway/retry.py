"""The one retry policy: what is tried again, how long, what ends the wait.

A policy is a value, built once and handed in. It knows neither boto3 nor MQTT: it goes by the errors of the cellar.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_never
from tenacity.wait import wait_random_exponential

from gateway.errors import BrokerError, CloudError, GatewayError, OperatorError, TransientError

OnRetry = Callable[[BaseException, int], None]
"""Told the error and how many attempts have failed, before each wait."""
ENOUGH = 8
"""Attempts that tell a message at fault from bad luck, where it stops others and their calls rarely fail."""
RARELY = 0.1
"""Of ten calls, not more than one: eight in a row fail by chance once in 100,000,000."""


class ShuttingDown(GatewayError):
    """The wait was ended, since the gateway stops."""


@dataclass(slots=True)
class ServiceUptime:
    """For how long the service has been seen working, so that one failing call is told from an outage.

    `seconds` grows by the time between two successes, by `gap` at most: during an outage it stands still.
    """

    gap: float
    seconds: float = 0.0
    successes: int = 0
    _last: float = field(default_factory=time.monotonic)

    def succeeded(self, now: float) -> None:
        """A call was accepted."""
        self.seconds += min(now - self._last, self.gap)
        self.successes += 1
        self._last = now


@dataclass(slots=True)
class FailureRecord:
    """A device whose calls fail while others get through. `since` and the health then; `attempts` that failed.

    `presses`: all others wait behind it. `given_up`: it was before, and nothing got through since.
    """

    since: float
    seconds: float
    successes: int
    attempts: int = 0
    presses: bool = False
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential with full jitter: after n failures, a wait of between 0 and min(`cap`, `base` * 2**(n - 1)) seconds.

    `stopping` ends every wait at once with ShuttingDown. `give_up_after` in seconds, for calls that may be given up.
    """

    stopping: asyncio.Event
    base: float = 0.2
    cap: float = 20.0
    give_up_after: float = 300.0

    def health(self) -> ServiceUptime:
        """A fresh record of the service's health, of which one success cannot condemn a call."""
        return ServiceUptime(gap=min(60.0, self.give_up_after / 2))

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = failures
        return wait_random_exponential(multiplier=self.base, max=self.cap)(state)

    async def pause(self, failures: int) -> None:
        """Wait after so many failures. Raises ShuttingDown."""
        await self._sleep(self.wait(failures))

    def gives_up(
        self, failing: FailureRecord, error: CloudError, health: ServiceUptime, failing_share: float, now: float
    ) -> bool:
        """Whether a call that failed once more is given up: it kept failing for long while the service worked.

        Sooner where others wait behind it, since nothing of theirs could get through then to show that it does.
        `failing_share`: of the others' calls.
        """
        waited = now - failing.since
        others = health.successes > failing.successes
        if failing.presses and others:
            enough = 1 if failing.given_up else ENOUGH
            rare = failing.attempts >= enough and failing_share <= RARELY and not isinstance(error, OperatorError)
            return rare or waited >= self.give_up_after
        if isinstance(error, OperatorError):
            return False
        return min(waited, health.seconds - failing.seconds) >= self.give_up_after

    def briefly(self, attempts: int, on_retry: OnRetry = lambda error, attempts: None) -> AsyncRetrying:
        """For what a device will ask for again anyway: only what can soon be better, so many times at most."""
        return self._retrying((TransientError,), stop_after_attempt(attempts), on_retry)

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
