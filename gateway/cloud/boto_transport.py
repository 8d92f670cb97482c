"""The standard lane: calls by boto3 itself, in threads. It reaches every endpoint that the AWS settings can name.

Here the boto3 client is made; the express lane takes what it needs from it. No retries, no devices.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError

from gateway.cloud import error_mapping, serializer
from gateway.errors import CloudError, ConfigError
from gateway.protocol.service_calls import Call, GetDeployments, GetDeviceRegistration, SendHeartbeat

Done: TypeAlias = Callable[[serializer.Answer | CloudError], None]
"""Told the answer, or what went wrong."""


def make_session() -> Any:
    """The boto3 session by the standard AWS settings. Raises ConfigError where there can be none."""
    try:
        return boto3.Session()
    except BotoCoreError as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_PROFILE)"]) from error


def has_credentials(session: Any) -> bool:
    """Whether boto3 finds any to sign with. It looks into files and may ask other services: for a thread."""
    try:
        return session.get_credentials() is not None
    except BotoCoreError:
        return False


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
        region = region or session.region_name or os.environ.get("AWS_REGION") or None
        return session.client("sagemaker-edge", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL)"]) from error


def tell_dates(client: Any, told: Callable[[str], None]) -> None:
    """`told` hears the Date header of each answer of the service ("" where it has none), in the thread of the call."""

    def hear(response_dict: Any, **more: object) -> None:
        told(response_dict["headers"].get("date", ""))

    client.meta.events.register("before-parse.sagemaker-edge", hear)


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """The credentials that boto3 found: by which of its ways, and whether they end, and are renewed, by themselves."""

    method: str
    temporary: bool
    renewed: bool


def identity(session: Any) -> CredentialInfo | CloudError | None:
    """The credentials of a session; None where there are none. May ask other services, as boto3 does."""
    try:
        found = session.get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
    except Exception as error:
        return error_mapping.of(error)
    if frozen is None:
        return None
    # Those of the environment may tell when they expire, but another process must renew them.
    renewed = isinstance(found, RefreshableCredentials) and found.method != "env"
    return CredentialInfo(found.method, frozen.token is not None, renewed)


class BotoTransport:
    """One lane, of so many threads."""

    def __init__(self, client: Any, threads: int) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cloud")

    def send(self, call: Call, done: Done) -> None:
        """Send once; `done` hears the answer, or what went wrong."""

        def over(future: "Future[serializer.Answer | CloudError]") -> None:
            if not future.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(done, future.result())

        self._pool.submit(self._answer, call).add_done_callback(over)

    def _answer(self, call: Call) -> serializer.Answer | CloudError:
        parameters = serializer.members(call)
        try:
            match call:
                case SendHeartbeat():
                    answer = self._client.send_heartbeat(**parameters)
                case GetDeployments():
                    answer = self._client.get_deployments(**parameters)
                case GetDeviceRegistration():
                    answer = self._client.get_device_registration(**parameters)
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            if headers.get("content-length") == "0" and not isinstance(call, SendHeartbeat):
                return error_mapping.of_nothing()
            return error_mapping.of_page(headers) or serializer.answer(call, answer)
        except Exception as error:
            return error_mapping.of(error)

    def close(self) -> None:
        """Calls that have not begun are dropped; the others end by their timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
