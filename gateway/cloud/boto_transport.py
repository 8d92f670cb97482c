"""Sends calls by boto3, in threads. It reaches every endpoint that the AWS settings can name.

The boto3 session and client of both transports are made here. It must never retry a call or
keep the state of a device.
"""

import asyncio
import http.client
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError

from gateway.cloud import error_mapping, serializer
from gateway.cloud.credentials import CredentialSource
from gateway.cloud.serializer import ApiResponse, OnApiResponse
from gateway.errors import CloudError, ConfigError, redact_credentials
from gateway.protocol import Call, SendHeartbeat

EMBEDDED = "AWS_ENDPOINT_URL=http://127.0.0.1:9470 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any"
"""The settings for `edge-gateway manager serve` as it is by default. The values of the last three may be any."""


class _FinalResponse(http.client.HTTPResponse):
    """The final response: http.client takes an interim one other than 100 for it (RFC 9110 15.2), and the next call on
    the connection would read the response of this one."""

    def begin(self) -> None:
        super().begin()
        while 100 <= self.status < 200:
            if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol("101: a switch of protocols that was not asked for")
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first head
            super().begin()


# botocore has no setting for it. S3's client uses the same classes.
for _connection in (AWSHTTPConnection, AWSHTTPSConnection):
    _connection.response_class = _FinalResponse  # type: ignore[assignment]  # the stubs name a subclass


def make_session(credentials: CredentialSource) -> Any:
    """The boto3 session by the standard AWS settings, which asks nobody for credentials. Raises ConfigError if they are
    wrong."""
    session = botocore.session.Session()
    if not any(os.path.exists(name) for name in credentials.file_names):
        # The files of the profile that AWS_PROFILE names may come later: until then there are no credentials.
        session = botocore.session.Session(session_vars={"profile": (None, [], None, None)})
    session.register_component("credential_provider", credentials)
    session.register("response-received", credentials.on_response)
    try:
        return boto3.Session(botocore_session=session)
    except BotoCoreError as error:
        raise ConfigError([f"AWS settings: {redact_credentials(error)} (see AWS_PROFILE)"]) from error


def make_edge_client(session: Any, region: str | None, pool: int, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client by the standard AWS settings; timeouts in seconds. Raises ConfigError if they are wrong.

    `pool`: connections at most. The client does not retry: the retry policy does.
    """
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=pool,
    )
    try:
        region = region or session.region_name or os.environ.get("AWS_REGION") or None
        client = session.client("sagemaker-edge", region_name=region, config=config)
    except NoRegionError as error:
        mistake = f"AWS settings: no region; set AWS_REGION or AWS_PROFILE. For the embedded Edge Manager: {EMBEDDED}"
        raise ConfigError([mistake]) from error
    except (BotoCoreError, ValueError) as error:
        places = "AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL"
        raise ConfigError([f"AWS settings: {redact_credentials(error)} (see {places})"]) from error
    check_endpoint(client)
    return client


def check_endpoint(client: Any) -> None:
    """boto3 finds a wrong port at the first call. Raises ConfigError; its text holds no part of the URL: what stands in
    the port's place may be a password."""
    try:
        urlsplit(client.meta.endpoint_url).port  # noqa: B018  # it is read to be checked
    except ValueError:
        mistake = "the port in the endpoint's URL is no number from 0 to 65535"
        raise ConfigError([f"AWS settings: {mistake} (see AWS_ENDPOINT_URL)"]) from None


def on_response_date(client: Any, callback: Callable[[str], None]) -> None:
    """Call `callback` with the Date header of each response ("": it has none), in the thread of the call."""

    def on_response(response_dict: Any, **more: object) -> None:
        callback(response_dict["headers"].get("date", ""))

    client.meta.events.register("before-parse.sagemaker-edge", on_response)


class BotoTransport:
    """`threads`: calls at once, at most."""

    def __init__(self, client: Any, threads: int) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cloud")

    def send(self, call: Call, on_response: OnApiResponse) -> None:
        """Send once; `on_response` gets the response or the error."""

        def on_done(future: "Future[ApiResponse | CloudError]") -> None:
            if not future.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(on_response, future.result())

        self._pool.submit(self._call, call).add_done_callback(on_done)

    def _call(self, call: Call) -> ApiResponse | CloudError:
        request = serializer.to_request(call)
        try:
            response = getattr(self._client, xform_name(type(call).__name__))(**request)
            headers = response["ResponseMetadata"].get("HTTPHeaders", {})
            if headers.get("content-length") == "0" and not isinstance(call, SendHeartbeat):
                return error_mapping.empty_response()
            return error_mapping.check_content_type(headers) or serializer.parse_response(call, response)
        except Exception as error:
            return error_mapping.error_from_exception(error)

    def close(self) -> None:
        """Calls that have not started are dropped; the others end by their timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
