"""The garden door: a call -> boto3 -> its outcome. Every foreign exception ends here.

Holds nothing of devices and decides nothing about them. `perform` is the whole interface, so that another transport can
take boto3's place.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from gateway import api, faults
from gateway.calls import (
    Accepted,
    Call,
    Deployment,
    GaveUp,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Refused,
    Registration,
    SendHeartbeat,
    Unanswered,
)
from gateway.errors import CallRefused, CloudError, ConfigError, OperatorNeeded
from gateway.express import Express
from gateway.retry import RetryPolicy, ShuttingDown

Answer: TypeAlias = Registration | tuple[Deployment, ...] | None
OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Told of each attempt: the call, its seconds, what went wrong (None: accepted)."""
OnRetry: TypeAlias = Callable[[Call, BaseException, int], None]
"""Told before each repetition: the call, the error, how many attempts have failed."""


def make_session() -> Any:
    """The boto3 session by the standard AWS settings. Raises ConfigError where there can be none."""
    try:
        return boto3.Session()
    except BotoCoreError as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_PROFILE)"]) from error


def make_client(session: Any, region: str | None, threads: int, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client by the standard AWS settings; timeouts in seconds. Raises ConfigError where none can be made.

    boto3 would repeat a failing call by itself; here the retry policy is the one that does.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=threads,
    )
    try:
        region = region or session.region_name or os.environ.get("AWS_REGION")
        return session.client("sagemaker-edge", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL)"]) from error


class Cloud:
    """Performs calls with retries: heartbeats by the express lane where there is one, the rest by boto3 in threads."""

    def __init__(
        self,
        client: Any,
        threads: int,
        policy: RetryPolicy,
        on_attempt: OnAttempt,
        on_retry: OnRetry,
        express: Express | None = None,
    ) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cloud")
        self._policy = policy
        self._health = policy.health()
        self._on_attempt = on_attempt
        self._on_retry = on_retry
        self._express = express
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Call, then: Callable[[Outcome[Answer]], None]) -> None:
        """Perform a call; `then` hears its outcome. A heartbeat that is accepted at once costs no task."""
        if isinstance(call, SendHeartbeat) and self._express is not None:
            began = time.monotonic()
            self._express.send(call, lambda fault: self._first_attempt(call, began, fault, then))
        else:
            self._follow(call, None, then)

    def _first_attempt(
        self, call: Call, began: float, fault: CloudError | None, then: Callable[[Outcome[Answer]], None]
    ) -> None:
        self._note(call, began, fault)
        if fault is None:
            then(Accepted(None))
        else:
            self._follow(call, fault, then)

    def _follow(self, call: Call, fault: CloudError | None, then: Callable[[Outcome[Answer]], None]) -> None:
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
            if known:
                raise known.pop()
            return await self._attempt(call)

        return attempt

    async def _attempt(self, call: Call) -> Answer:
        """One call. Raises CloudError: a registration is never refused, only failing."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            if isinstance(call, SendHeartbeat) and self._express is not None:
                await self._express.sent(call)
                answer: Answer = None
            else:
                answer = await loop.run_in_executor(self._pool, self._call, call)
        except CloudError as error:
            self._note(call, began, error)
            if isinstance(call, GetDeviceRegistration) and isinstance(error, CallRefused):
                raise OperatorNeeded(error.reason, str(error)) from error
            raise
        self._note(call, began, None)
        return answer

    def _note(self, call: Call, began: float, fault: CloudError | None) -> None:
        self._on_attempt(call, time.monotonic() - began, fault)
        if fault is None:
            self._health.succeeded()

    def _call(self, call: Call) -> Answer:
        """By boto3, in a thread of the pool."""
        parameters = api.members(call)
        try:
            match call:
                case SendHeartbeat():
                    answer = self._client.send_heartbeat(**parameters)
                case GetDeployments():
                    answer = self._client.get_deployments(**parameters)
                case GetDeviceRegistration():
                    answer = self._client.get_device_registration(**parameters)
        except Exception as error:
            raise faults.of(error) from error
        if fault := faults.of_page(answer["ResponseMetadata"].get("HTTPHeaders", {})):
            raise fault
        match call:
            case SendHeartbeat():
                return None
            case GetDeployments():
                return api.deployments(answer)
            case GetDeviceRegistration():
                return api.registration(answer)

    def close(self) -> None:
        """Calls that have not begun are dropped; the others end by their timeouts."""
        for task in self._tasks:
            task.cancel()
        if self._express is not None:
            self._express.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
