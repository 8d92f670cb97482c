"""Edge Manager client: sends each call over a transport and turns its result into an outcome for the core.

Keeps no messages: a failed call is returned to the core, which queues its messages again. What follows from a failure
is decided in availability.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from gateway.cloud.availability import Availability, CircuitBreaker
from gateway.cloud.serializer import ApiResponse, OnApiResponse
from gateway.errors import CloudError, OperatorError, PermanentError
from gateway.protocol import Accepted, Call, Cancelled, Device, GetDeviceRegistration, Outcome, Rejected, RetryLater
from gateway.retry import RetryPolicy

OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Called after each attempt: the call, its seconds, its error (None: accepted)."""
OnCallRetry: TypeAlias = Callable[[Call, CloudError, int], None]
"""Called for each call that will be retried: its error, and how many attempts of its device, or probes, have failed."""
OnLimitChange: TypeAlias = Callable[[CircuitBreaker], None]
"""Called after the number of calls that may be in flight changed."""

_ACCEPTED: Accepted[ApiResponse] = Accepted(None)
"""The outcome of each accepted heartbeat."""


class Transport(Protocol):
    """Sends calls to the service, each once. Exceptions of its libraries become CloudError here."""

    def send(self, call: Call, on_response: OnApiResponse) -> None:
        """`on_response` gets the response or the error, in the event loop, after `send` has returned."""

    def close(self) -> None:
        """Calls in flight get no response."""


class EdgeManagerClient:
    """Sends calls over `transport` within the limits of `availability`.

    A failed call that is worth a retry becomes RetryLater; if only its device fails, `on_retry_due` follows.
    """

    def __init__(
        self,
        transport: Transport,
        policy: RetryPolicy,
        availability: Availability,
        on_attempt: OnAttempt,
        on_retry: OnCallRetry,
        on_limit_change: OnLimitChange = lambda breaker: None,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._availability, self._breaker = availability, availability.breaker
        self._on_attempt, self._on_retry, self._on_limit_change = on_attempt, on_retry, on_limit_change
        self._timers: dict[Device | None, asyncio.TimerHandle] = {}
        self._limit = self._breaker.limit

    def bind(self, on_retry_due: Callable[[Device], None], set_concurrency: Callable[[int], None]) -> None:
        """Before the first call. `on_retry_due` gets a device whose call is due again, `set_concurrency` how many calls
        may be in flight."""
        self._on_retry_due, self._set_concurrency = on_retry_due, set_concurrency
        set_concurrency(self._limit)

    def call(self, call: Call, then: Callable[[Outcome[ApiResponse]], None]) -> None:
        """Make a call once; `then` gets its outcome."""
        self._transport.send(call, partial(self._on_response, call, time.monotonic(), then))

    def _on_response(
        self, call: Call, began: float, then: Callable[[Outcome[ApiResponse]], None], response: ApiResponse | CloudError
    ) -> None:
        now = time.monotonic()
        if isinstance(response, CloudError):
            then(self._on_error(call, response, now - began, now))
            return
        self._on_attempt(call, now - began, None)
        self._availability.on_answer(call, now)
        if self._limit != self._breaker.limit:
            self._update_limit()
        then(_ACCEPTED if response is None else Accepted(response))

    def _on_error(self, call: Call, error: CloudError, seconds: float, now: float) -> Outcome[ApiResponse]:
        if isinstance(error, PermanentError) and isinstance(call, GetDeviceRegistration):
            error = OperatorError(error.reason, str(error))  # a device asked for nothing that could be rejected
        self._on_attempt(call, seconds, error)
        if isinstance(error, PermanentError):
            self._availability.on_answer(call, now, accepted=False)
            self._update_limit()
            return Rejected(str(error))
        decision = self._availability.on_failure(call, error, now)
        if decision.probe_due:
            self._start_timer(self._breaker.failed_probes, None)
        self._update_limit()
        if self._policy.stopping.is_set():
            return Cancelled("the gateway stops")
        if isinstance(decision.outcome, RetryLater):
            self._on_retry(call, error, decision.failures)
            if decision.outcome.only_this_device:
                self._start_timer(decision.failures, call.device)
        return decision.outcome

    def _start_timer(self, failures: int, device: Device | None) -> None:
        """`device` None: for a probe."""
        if device in self._timers:
            self._timers[device].cancel()  # a call succeeded after it was started, and then failed again
        wait = self._policy.wait(failures)
        self._timers[device] = asyncio.get_running_loop().call_later(wait, self._on_timer, device)

    def _on_timer(self, device: Device | None) -> None:
        del self._timers[device]
        if self._policy.stopping.is_set():
            return
        if device is not None:
            self._on_retry_due(device)
        else:
            self._breaker.half_open()
            self._update_limit()

    def retry_now(self, device: Device) -> None:
        """All others wait for this device: if its call failed, it is due now."""
        self._availability.mark_blocking(device)
        timer = self._timers.get(device)
        if timer is not None:
            timer.cancel()
            self._on_timer(device)

    def _update_limit(self) -> None:
        if self._limit != self._breaker.limit:
            self._limit = self._breaker.limit
            self._on_limit_change(self._breaker)
            self._set_concurrency(self._limit)

    def close(self) -> None:
        """No outcome follows."""
        for timer in self._timers.values():
            timer.cancel()
        self._transport.close()
