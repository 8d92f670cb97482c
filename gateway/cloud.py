"""The garden door: a call -> boto3 -> its outcome. Every foreign exception ends here.

Holds nothing of devices and decides nothing about them. `perform` is the whole interface, so that another transport can
take boto3's place.
"""

import asyncio
import os
import time
from collections.abc import Callable
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
from gateway.retry import Health, RetryPolicy, ShuttingDown

Answer: TypeAlias = Registration | tuple[Deployment, ...] | None
OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Told of each attempt: the call, its seconds, what went wrong (None: accepted)."""
OnRetry: TypeAlias = Callable[[Call, BaseException, int], None]
"""Told before each repetition: the call, the error, how many attempts have failed."""


def make_client(region: str | None, concurrency: int, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client by the standard AWS settings; timeouts in seconds. Raises ConfigError where none can be made.

    boto3 would repeat a failing call by itself; here the retry policy is the one that does.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=concurrency,
    )
    try:
        session = boto3.Session()
        region = region or session.region_name or os.environ.get("AWS_REGION")
        return session.client("sagemaker-edge", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL)"]) from error


class Cloud:
    """Performs calls with retries, at most `concurrency` at once, each in a thread of a pool."""

    def __init__(
        self, client: Any, concurrency: int, policy: RetryPolicy, on_attempt: OnAttempt, on_retry: OnRetry
    ) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="cloud")
        self._policy = policy
        self._health = policy.health()
        self._on_attempt = on_attempt
        self._on_retry = on_retry

    async def perform(self, call: Call) -> Outcome[Answer]:
        """The call's outcome; raises nothing. Waits through outages, until the policy ends the wait."""
        try:
            if isinstance(call, GetDeployments) and not call.patient:
                return Accepted(await self._attempt(call))
            retrying = self._policy.call(self._may_be_given_up(call), lambda error, n: self._on_retry(call, error, n))
            return Accepted(await retrying(self._attempt, call))
        except CallRefused as error:
            return Refused(str(error))
        except ShuttingDown:
            return Unanswered("the gateway stops")
        except CloudError as error:
            impatient = isinstance(call, GetDeployments) and not call.patient
            return Unanswered(str(error)) if impatient else GaveUp(str(error))

    def _may_be_given_up(self, call: Call) -> Health | None:
        """A registration that cannot be had is an outage, never an answer."""
        return None if isinstance(call, GetDeviceRegistration) else self._health

    async def _attempt(self, call: Call) -> Answer:
        """One call. Raises CloudError: a registration is never refused, only failing."""
        began = time.monotonic()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._call, call)
        except CloudError as error:
            self._on_attempt(call, time.monotonic() - began, error)
            if isinstance(call, GetDeviceRegistration) and isinstance(error, CallRefused):
                raise OperatorNeeded(error.reason, str(error)) from error
            raise
        self._on_attempt(call, time.monotonic() - began, None)
        self._health.succeeded()
        return answer

    def _call(self, call: Call) -> Answer:
        """In a thread of the pool."""
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
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
