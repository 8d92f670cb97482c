"""The garden door: a call -> boto3 -> its outcome. Every foreign exception ends here.

Holds nothing of what devices say: a call that fails goes back to where its messages wait. `start` and what `begin` is
told are the whole interface, so that another transport can take boto3's place.
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
from gateway.breaker import Breaker
from gateway.calls import (
    Accepted,
    Call,
    Deployment,
    GaveUp,
    GetDeployments,
    GetDeviceRegistration,
    Outcome,
    Postponed,
    Refused,
    Registration,
    SendHeartbeat,
    Unanswered,
)
from gateway.errors import CallRefused, CloudError, ConfigError, OperatorNeeded
from gateway.express import Express
from gateway.messages import Device
from gateway.retry import Failing, RetryPolicy

Answer: TypeAlias = Registration | tuple[Deployment, ...] | None
OnAttempt: TypeAlias = Callable[[Call, float, CloudError | None], None]
"""Told of each attempt: the call, its seconds, what went wrong (None: accepted)."""
OnRetry: TypeAlias = Callable[[Call, BaseException, int], None]
"""Told of each call that will be repeated: the error, how many attempts (of the device, or of probes) have failed."""
OnBreaker: TypeAlias = Callable[[Breaker], None]
"""Told whenever the calls that may be under way at once become more or fewer."""


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
    """Performs calls: heartbeats by the express lane where there is one, the rest by boto3 in threads.

    What fails and is worth making again is Postponed: it is asked for again, after `again` where it failed alone.
    Nothing is kept of it meanwhile but how often its device failed.
    """

    def __init__(
        self,
        client: Any,
        threads: int,
        policy: RetryPolicy,
        on_attempt: OnAttempt,
        on_retry: OnRetry,
        express: Express | None = None,
        breaker: Breaker | None = None,
        on_breaker: OnBreaker = lambda breaker: None,
    ) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cloud")
        self._policy = policy
        self._health = policy.health()
        self._on_attempt = on_attempt
        self._on_retry = on_retry
        self._express = express
        self._breaker = breaker or Breaker(threads)
        self._on_breaker = on_breaker
        self._failing: dict[tuple[Device, type[Call]], Failing] = {}
        self._timers: dict[Device | None, asyncio.TimerHandle] = {}
        self._window = self._breaker.window
        self._again: Callable[[Device], None] = lambda device: None
        self._widen: Callable[[int], None] = lambda window: None

    def __repr__(self) -> str:
        return f"<Cloud {self._breaker!r}, {len(self._failing)} devices failing>"

    def begin(self, again: Callable[[Device], None], widen: Callable[[int], None]) -> None:
        """`again` hears that a device's postponed call is due, `widen` how many calls at once there may be."""
        self._again, self._widen = again, widen
        widen(self._window)

    def start(self, call: Call, then: Callable[[Outcome[Answer]], None]) -> None:
        """Make a call once; `then` hears its outcome, never before this returns."""
        began = time.monotonic()
        if isinstance(call, SendHeartbeat) and self._express is not None:
            self._express.send(call, lambda fault: then(self._outcome(call, began, fault, None)))
            return
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._call, call)

        def ended(future: asyncio.Future[Answer | CloudError]) -> None:
            if not future.cancelled():
                found = future.result()
                fault = found if isinstance(found, CloudError) else None
                then(self._outcome(call, began, fault, None if isinstance(found, CloudError) else found))

        future.add_done_callback(ended)

    def _outcome(self, call: Call, began: float, fault: CloudError | None, answer: Answer) -> Outcome[Answer]:
        """What became of an attempt, and what follows for the next calls."""
        now = time.monotonic()
        if isinstance(fault, CallRefused) and isinstance(call, GetDeviceRegistration):
            fault = OperatorNeeded(fault.reason, str(fault))  # a registration is never refused, only failing
        self._on_attempt(call, now - began, fault)
        if fault is None or isinstance(fault, CallRefused):
            self._answered(call, fault is None, now)
            return Accepted(answer) if fault is None else Refused(str(fault))
        return self._failed(call, fault, now)

    def _answered(self, call: Call, accepted: bool, now: float) -> None:
        failing = self._failing.pop((call.device, type(call)), None) if self._failing else None
        self._breaker.answered(now, failing is None)
        if accepted:
            self._health.succeeded(now)
        if self._window != self._breaker.window:
            self._tell_window()

    def _failed(self, call: Call, fault: CloudError, now: float) -> Outcome[Answer]:
        failing = self._failing.get((call.device, type(call)))
        if self._breaker.failed(call.device, failing is None):
            self._later(self._policy.wait(self._breaker.rounds), None)
        self._tell_window()
        if isinstance(call, GetDeployments) and not call.patient:
            return Unanswered(str(fault))
        if self._policy.stopping.is_set():
            return Unanswered("the gateway stops")
        if self._breaker.open:
            self._failing.clear()  # it was not their fault
            self._on_retry(call, fault, self._breaker.rounds)
            return Postponed(alone=False)
        return self._failed_alone(call, fault, failing or self._fresh(call, now), now)

    def _fresh(self, call: Call, now: float) -> Failing:
        failing = Failing(now, self._health.seconds, self._health.successes)
        self._failing[call.device, type(call)] = failing
        return failing

    def _failed_alone(self, call: Call, fault: CloudError, failing: Failing, now: float) -> Outcome[Answer]:
        failing.attempts += 1
        if self._policy.gives_up(failing, fault, self._health, self._breaker.failing_share, now):
            self._fresh(call, now).given_up = True
            return GaveUp(str(fault))
        failing.presses = False
        self._on_retry(call, fault, failing.attempts)
        self._later(self._policy.wait(failing.attempts), call.device)
        return Postponed(alone=True)

    def _later(self, seconds: float, device: Device | None) -> None:
        """`device` None: a probe is due then, else the device's call."""
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
        for operation in (SendHeartbeat, GetDeployments, GetDeviceRegistration):
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

    def _call(self, call: Call) -> Answer | CloudError:
        """By boto3, in a thread of the pool. An error is returned, not raised: a traceback holds all that it saw."""
        try:
            return self._asked(call)
        except CloudError as error:
            return error.with_traceback(None)
        except Exception as error:
            return faults.of(error).with_traceback(None)

    def _asked(self, call: Call) -> Answer:
        parameters = api.members(call)
        match call:
            case SendHeartbeat():
                answer = self._client.send_heartbeat(**parameters)
            case GetDeployments():
                answer = self._client.get_deployments(**parameters)
            case GetDeviceRegistration():
                answer = self._client.get_device_registration(**parameters)
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
        for timer in self._timers.values():
            timer.cancel()
        if self._express is not None:
            self._express.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
