"""The retry policy: which errors are retried, how long the waits are, what ends a wait.

Whether a failed call is retried or given up is decided in cloud/availability.py. This module must never import boto3
or an MQTT library: it goes by the classes of gateway.errors.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_never
from tenacity.wait import wait_random_exponential

from gateway.errors import BrokerError, GatewayError, TransientError

OnRetry = Callable[[BaseException, int], None]
"""Called with the error and the number of failed attempts, before each wait."""


class ShuttingDown(GatewayError):
    """A wait ended because the gateway stops."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential with full jitter: after n failures, a wait of between 0 and min(`cap`, `base` * 2**(n - 1)) seconds.

    `stopping` ends every wait at once with ShuttingDown.
    """

    stopping: asyncio.Event
    base: float = 0.2
    cap: float = 20.0

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = failures
        return wait_random_exponential(multiplier=self.base, max=self.cap)(state)

    async def pause(self, failures: int) -> None:
        """Wait after so many failures. Raises ShuttingDown."""
        await self._sleep(self.wait(failures))

    def limited(self, attempts: int, on_retry: OnRetry = lambda error, attempts: None) -> AsyncRetrying:
        """Retries TransientError, `attempts` attempts in all."""
        return self._retrying((TransientError,), stop_after_attempt(attempts), on_retry)

    def connecting(self, on_retry: OnRetry) -> AsyncRetrying:
        """Retries BrokerError without a limit."""
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
