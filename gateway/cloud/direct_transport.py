"""The express lane: calls serialised, signed and sent here, since that costs a tenth of the same call by boto3.

boto3 keeps what it is good for: credentials and their refresh, region, endpoint, the service model, by which botocore's
parser reads the answers. No retries, no devices.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies

from gateway.cloud import error_mapping, json_body, serializer
from gateway.cloud.http_client import ConnectionPool, HttpOrigin, Response
from gateway.cloud.sigv4 import AwsCredentials, Signer
from gateway.errors import CloudError, OperatorError
from gateway.protocol.service_calls import Call, SendHeartbeat

REFRESH = 30.0
"""Seconds between two looks at the credentials; boto3 renews them ten minutes before they expire."""


def suits(client: Any) -> bool:
    """Whether the lane can be taken to this boto3 client's endpoint: proxies and odd paths are left to boto3."""
    url = client.meta.endpoint_url
    return urlsplit(url).path in ("", "/") and not client.meta.config.proxies and not get_environ_proxies(url)


class DirectTransport:
    """One lane. `session`: the boto3 session whose credentials sign."""

    def __init__(self, session: Any, client: Any, connections: int) -> None:
        config, url = client.meta.config, urlsplit(client.meta.endpoint_url)
        tls = _tls(session) if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        target = HttpOrigin(url.hostname or "", port, tls, connections, config.connect_timeout, config.read_timeout)
        self._pool = ConnectionPool(target)
        self._signer = Signer(client.meta.region_name, "sagemaker", url.netloc)
        self._headers = f" HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        self._model = client.meta.service_model
        self._parser = create_parser(self._model.protocol)
        self._session = session
        self._credentials: AwsCredentials | None = None
        self._fault: CloudError = OperatorError("NoCredentialsError", "boto3 finds no credentials to sign with")
        self._refreshed = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def send(self, call: Call, done: Callable[[serializer.Answer | CloudError], None]) -> None:
        """Send once; `done` hears the answer, or what went wrong."""
        stale = self._credentials is None or time.monotonic() - self._refreshed > REFRESH
        if stale and self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        if self._credentials is None:
            self._after_refresh(lambda: self._send(call, done))
        else:
            self._send(call, done)

    def _send(self, call: Call, done: Callable[[serializer.Answer | CloudError], None]) -> None:
        if self._credentials is None:
            asyncio.get_running_loop().call_soon(done, self._fault)
            return
        path, content = f"/{type(call).__name__}", json_body.of(call)
        signature = self._signer.headers(self._credentials, path, content, time.time())
        head = f"POST {path}{self._headers}{signature}Content-Length: {len(content)}\r\n\r\n"
        self._pool.send(head.encode("ascii") + content, lambda response: done(self._read(call, response)))

    def _read(self, call: Call, response: Response | CloudError) -> serializer.Answer | CloudError:
        if not isinstance(response, Response):
            return response
        if response.status < 300:
            fault = error_mapping.of_page(response.headers)
            if fault is not None or isinstance(call, SendHeartbeat):
                return fault
        else:
            self._refreshed = float("-inf")  # it may be the credentials
        return self._parsed(call, response)

    def _parsed(self, call: Call, response: Response) -> serializer.Answer | CloudError:
        """By botocore's own parser: what is not the API's is told as boto3 tells it. It takes nothing for {}."""
        if response.status < 300 and not response.body.strip():
            return error_mapping.of_nothing()
        shape = self._model.operation_model(type(call).__name__).output_shape
        raw = {"status_code": response.status, "headers": response.headers, "body": response.body}
        try:
            members = self._parser.parse(raw, shape)
            return serializer.answer(call, members) if response.status < 300 else error_mapping.of_answer(members)
        except Exception as error:
            return error_mapping.of(error)

    def _after_refresh(self, action: Callable[[], None]) -> None:
        assert self._refreshing is not None
        self._refreshing.add_done_callback(lambda task: action())

    async def _refresh(self) -> None:
        """In a thread: to renew credentials boto3 asks other services."""
        try:
            found = await asyncio.to_thread(self._look)
            if found != self._credentials:
                self._credentials = found
        except Exception as error:
            self._fault = error_mapping.of(error)
        finally:
            self._refreshed = time.monotonic()
            self._refreshing = None

    def _look(self) -> AwsCredentials | None:
        """boto3 keeps what it has found, and looks again until it has found some."""
        source = self._session.get_credentials()
        frozen = source.get_frozen_credentials() if source else None
        return AwsCredentials(frozen.access_key, frozen.secret_key, frozen.token) if frozen else None

    def close(self) -> None:
        """Calls in flight are not told."""
        self._pool.close()


def _tls(session: Any) -> ssl.SSLContext:
    bundle = session._session.get_config_variable("ca_bundle")
    return ssl.create_default_context(cafile=bundle or None)
