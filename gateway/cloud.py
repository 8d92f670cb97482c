"""The garden door: a call -> a lane to the service -> its outcome, with what fails repeated.

Holds nothing of devices and decides nothing about them. Which lane the calls take is chosen by who opens the door.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from gateway.api import Answer
from gateway.calls import (
    Accepted,
    Call,
    GaveUp,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Refused,
    Unanswered,
)
from gateway.errors import CallRefused, CloudError, OperatorNeeded
from gateway.retry import RetryPolicy, ShuttingDown

OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Told of each attempt: the call, its seconds, what went wrong (None: accepted)."""
OnRetry: TypeAlias = Callable[[Call, BaseException, int], None]
"""Told before each repetition: the call, the error, how many attempts have failed."""


class Lane(Protocol):
    """One way to the service: each call once, and every foreign exception ends there."""

    def send(self, call: Call, done: Callable[[Answer | CloudError], None]) -> None:
        """Send once; `done` hears the answer, or what went wrong, on the loop's thread."""

    def close(self) -> None:
        """Calls under way are not told."""


class Cloud:
    """Performs calls over one lane, by one policy."""

    def __init__(self, lane: Lane, policy: RetryPolicy, on_attempt: OnAttempt, on_retry: OnRetry) -> None:
        self._lane = lane
        self._policy = policy
        self._health = policy.health()
        self._on_attempt = on_attempt
        self._on_retry = on_retry
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Call, then: Callable[[Outcome[Answer]], None]) -> None:
        """Perform a call; `then` hears its outcome. One that is answered at once costs no task."""

        def first(answer: Answer | CloudError) -> None:
            if isinstance(answer, CloudError):
                self._follow(call, answer, then)
            else:
                then(Accepted(answer))

        self._send(call, first)

    def _follow(self, call: Call, fault: CloudError, then: Callable[[Outcome[Answer]], None]) -> None:
        async def follow() -> None:
            then(await self.perform(call, fault))

        task = asyncio.get_running_loop().create_task(follow())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def perform(self, call: Call, fault: CloudError | None = None) -> Outcome[Answer]:
        """The call's outcome; raises nothing. Waits through outages, until the policy ends the wait.

        `fault`: how the first attempt went, where it was made already.
        """
        attempts = self._attempts(call, fault)
        patient = not isinstance(call, GetDeployments) or call.patient
        try:
            if not patient:
                return Accepted(await attempts())
            retrying = self._policy.call(self._health, lambda error, n: self._on_retry(call, error, n))
            return Accepted(await retrying(attempts))
        except CallRefused as error:
            return Refused(str(error))
        except ShuttingDown:
            return Unanswered("the gateway stops")
        except CloudError as error:
            return GaveUp(str(error)) if patient else Unanswered(str(error))

    def _attempts(self, call: Call, fault: CloudError | None) -> Callable[[], Awaitable[Answer]]:
        """What makes the next attempt; the first one is over where its `fault` is known."""
        known = [fault] if fault is not None else []

        async def attempt() -> Answer:
            answer = known.pop() if known else await self._answer(call)
            if not isinstance(answer, CloudError):
                return answer
            if isinstance(answer, CallRefused) and isinstance(call, GetDeviceRegistration):
                raise OperatorNeeded(answer.reason, str(answer)) from answer  # a registration is never refused
            raise answer

        return attempt

    async def _answer(self, call: Call) -> Answer | CloudError:
        answered: asyncio.Future[Answer | CloudError] = asyncio.get_running_loop().create_future()
        self._send(call, lambda answer: None if answered.done() else answered.set_result(answer))
        return await answered

    def _send(self, call: Call, done: Callable[[Answer | CloudError], None]) -> None:
        began = time.monotonic()

        def over(answer: Answer | CloudError) -> None:
            fault = answer if isinstance(answer, CloudError) else None
            self._on_attempt(call, time.monotonic() - began, fault)
            if fault is None:
                self._health.succeeded()
            done(answer)

        self._lane.send(call, over)

    def close(self) -> None:
        """No outcome from now on."""
        for task in self._tasks:
            task.cancel()
        self._lane.close()
