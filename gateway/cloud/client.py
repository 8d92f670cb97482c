"""The garden door: a call -> a lane to the service -> its outcome, and what follows for the calls after it.

Holds nothing of what devices say: a call that fails goes back to where its messages wait. Which lane the calls take is
chosen by who opens the door.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from gateway.cloud.availability import CircuitBreaker
from gateway.cloud.serializer import Answer
from gateway.errors import CloudError, OperatorError, PermanentError
from gateway.protocol.messages import Device
from gateway.protocol.service_calls import (
    Abandoned,
    Accepted,
    Call,
    Cancelled,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from gateway.retry import FailureRecord, RetryPolicy

OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Told of each attempt: the call, its seconds, what went wrong (None: accepted)."""
OnRetry: TypeAlias = Callable[[Call, BaseException, int], None]
"""Told of each call that will be repeated: the error, how many attempts (of the device, or of probes) have failed."""
OnBreaker: TypeAlias = Callable[[CircuitBreaker], None]
"""Told whenever the calls that may be under way at once become more or fewer."""

_OPERATIONS = (SendHeartbeat, GetDeployments, GetDeviceRegistration)


class Transport(Protocol):
    """One way to the service: each call once, and every foreign exception ends there."""

    def send(self, call: Call, done: Callable[[Answer | CloudError], None]) -> None:
        """Send once; `done` hears the answer, or what went wrong, on the loop's thread, after this has returned."""

    def close(self) -> None:
        """Calls under way are not told."""


class EdgeManagerClient:
    """Makes calls over one lane, by one policy and one breaker.

    What fails and is worth making again is Postponed: it is asked for again, after `again` where it failed alone.
    Nothing is kept of it meanwhile but how often its device failed.
    """

    def __init__(
        self,
        lane: Transport,
        policy: RetryPolicy,
        breaker: CircuitBreaker,
        on_attempt: OnAttempt,
        on_retry: OnRetry,
        on_breaker: OnBreaker = lambda breaker: None,
    ) -> None:
        self._lane = lane
        self._policy = policy
        self._health = policy.health()
        self._breaker = breaker
        self._on_attempt, self._on_retry, self._on_breaker = on_attempt, on_retry, on_breaker
        self._failing: dict[tuple[Device, type[Call]], FailureRecord] = {}
        self._timers: dict[Device | None, asyncio.TimerHandle] = {}
        self._window = breaker.window
        self._again: Callable[[Device], None] = lambda device: None
        self._widen: Callable[[int], None] = lambda window: None

    def __repr__(self) -> str:
        return f"<Cloud {self._breaker!r}, {len(self._failing)} devices failing>"

    def begin(self, again: Callable[[Device], None], widen: Callable[[int], None]) -> None:
        """`again` hears that a device's postponed call is due, `widen` how many calls at once there may be."""
        self._again, self._widen = again, widen
        widen(self._window)

    def start(self, call: Call, then: Callable[[Outcome[Answer]], None]) -> None:
        """Make a call once; `then` hears its outcome."""
        began = time.monotonic()
        self._lane.send(call, lambda answer: then(self._outcome(call, began, answer)))

    def _outcome(self, call: Call, began: float, answer: Answer | CloudError) -> Outcome[Answer]:
        """What became of an attempt, and what follows for the next calls."""
        now = time.monotonic()
        if not isinstance(answer, CloudError):
            self._on_attempt(call, now - began, None)
            if self._tells_of_others(call):
                self._health.succeeded(now)
            self._answered(call, now)
            return Accepted(answer)
        if isinstance(answer, PermanentError) and isinstance(call, GetDeviceRegistration):
            answer = OperatorError(answer.reason, str(answer))  # a registration is never refused, only failing
        self._on_attempt(call, now - began, answer)
        if isinstance(answer, PermanentError):
            self._answered(call, now)
            return Rejected(str(answer))
        return self._failed(call, answer, now)

    def _tells_of_others(self, call: Call) -> bool:
        """Whether its success may be held against others: not where the device's own other calls are what fails."""
        if not self._failing:
            return True
        return not any((call.device, each) in self._failing for each in _OPERATIONS if each is not type(call))

    def _answered(self, call: Call, now: float) -> None:
        failing = self._failing.pop((call.device, type(call)), None) if self._failing else None
        self._breaker.answered(now, failing is None)
        if self._window != self._breaker.window:
            self._tell_window()

    def _failed(self, call: Call, fault: CloudError, now: float) -> Outcome[Answer]:
        failing = self._failing.get((call.device, type(call)))
        if self._breaker.failed(call.device, failing is None):
            self._later(self._policy.wait(self._breaker.rounds), None)
        self._tell_window()
        if isinstance(call, GetDeployments) and not call.retryable:
            return Cancelled(str(fault))
        if self._policy.stopping.is_set():
            return Cancelled("the gateway stops")
        if self._breaker.open:
            self._failing.clear()  # it was not their fault
            self._on_retry(call, fault, self._breaker.rounds)
            return RetryLater(only_this_device=False)
        return self._failed_alone(call, fault, failing or self._fresh(call, now), now)

    def _fresh(self, call: Call, now: float) -> FailureRecord:
        failing = FailureRecord(now, self._health.seconds, self._health.successes)
        self._failing[call.device, type(call)] = failing
        return failing

    def _failed_alone(self, call: Call, fault: CloudError, failing: FailureRecord, now: float) -> Outcome[Answer]:
        if failing.attempts == 0:
            failing.since, failing.seconds, failing.successes = now, self._health.seconds, self._health.successes
        failing.attempts += 1
        if self._policy.gives_up(failing, fault, self._health, self._breaker.failing_share, now):
            self._fresh(call, now).given_up = True
            return Abandoned(str(fault))
        failing.presses = False
        self._on_retry(call, fault, failing.attempts)
        self._later(self._policy.wait(failing.attempts), call.device)
        return RetryLater(only_this_device=True)

    def _later(self, seconds: float, device: Device | None) -> None:
        """`device` None: a probe is due then, else the device's call."""
        if device in self._timers:
            self._timers[device].cancel()  # it was set before the service answered, and failed again
        self._timers[device] = asyncio.get_running_loop().call_later(seconds, self._due, device)

    def _due(self, device: Device | None) -> None:
        del self._timers[device]
        if self._policy.stopping.is_set():
            return
        if device is not None:
            self._again(device)
        else:
            self._breaker.probe()
            self._tell_window()

    def press(self, device: Device) -> None:
        """All others wait behind what `device` asked for: if its call failed alone, it is made again now."""
        for operation in _OPERATIONS:
            failing = self._failing.get((device, operation))
            if failing is not None:
                failing.presses = True
        timer = self._timers.get(device)
        if timer is not None:
            timer.cancel()
            self._due(device)

    def _tell_window(self) -> None:
        window, self._window = self._window, self._breaker.window
        if window != self._window:
            self._on_breaker(self._breaker)
            self._widen(self._window)

    def close(self) -> None:
        """No outcome from now on."""
        for timer in self._timers.values():
            timer.cancel()
        self._lane.close()
