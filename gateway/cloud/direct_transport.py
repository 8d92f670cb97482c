"""Sends calls over HTTP connections of our own, signed here: a tenth of the CPU time of the same call by boto3.

boto3 provides credentials and their refresh, region, endpoint, and the service model by which botocore parses the
responses. It must never retry a call or keep the state of a device.
"""

import asyncio
import json
import ssl
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies

from gateway.cloud import error_mapping, json_body, serializer
from gateway.cloud.credentials import CredentialSource
from gateway.cloud.http_client import ConnectionPool, HttpOrigin, HttpResponse
from gateway.cloud.serializer import ApiResponse, OnApiResponse
from gateway.cloud.sigv4 import AwsCredentials, Signer
from gateway.errors import CloudError, OperatorError
from gateway.protocol import Call, DeviceVersion, GetDeviceRegistration, SendHeartbeat

VERSION_HEADER = serializer.VERSION_HEADER.encode()
TITLE_HEADER = VERSION_HEADER.title()
"""The same, by a proxy that writes the names of headers so."""
REFRESH_INTERVAL = 30.0
"""Seconds between two reads of the credentials; boto3 renews them ten minutes before they expire."""


def supports_direct_transport(client: Any) -> bool:
    """Whether this transport can reach the endpoint of a boto3 client: not through a proxy, and not with a path."""
    return urlsplit(client.meta.endpoint_url).path in ("", "/") and direct_address(client) is not None


def direct_address(client: Any) -> tuple[str, int] | None:
    """Host and port of the endpoint of a boto3 client; None: through a proxy."""
    url = client.meta.endpoint_url
    if client.meta.config.proxies or get_environ_proxies(url):
        return None
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class DirectTransport:
    """`session`: the boto3 session whose credentials sign. `connections`: open at once, at most."""

    def __init__(self, session: Any, client: Any, connections: int) -> None:
        config, url = client.meta.config, urlsplit(client.meta.endpoint_url)
        self._source: CredentialSource = session.get_credentials()
        tls = _tls(session) if url.scheme == "https" else None
        default_port = 443 if tls else 80
        port = url.port or default_port
        origin = HttpOrigin(url.hostname or "", port, tls, connections, config.connect_timeout, config.read_timeout)
        self._pool = ConnectionPool(origin)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        host += "" if port == default_port else f":{port}"  # as boto3 sends and signs it
        self._signer = Signer(client.meta.region_name, "sagemaker", host)
        self._headers = f" HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._model = client.meta.service_model
        self._parser = create_parser(self._model.protocol)
        self._credentials: AwsCredentials | None = None
        self._error: CloudError = OperatorError("NoCredentialsError", "boto3 finds no credentials to sign with")
        self._rejected = False
        self._refreshed = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def send(self, call: Call, on_response: OnApiResponse) -> None:
        """Send once; `on_response` gets the response or the error."""
        credentials = self._credentials
        if credentials is None or self._rejected:
            self._refresh_soon().add_done_callback(lambda task: self._send_after_refresh(call, on_response))
            return
        if time.monotonic() - self._refreshed > REFRESH_INTERVAL:
            self._refresh_soon()
        path, content = f"/{type(call).__name__}", json_body.encode(call)
        signature = self._signer.headers(credentials, path, content, time.time())
        head = f"POST {path}{self._headers}{signature}Content-Length: {len(content)}\r\n\r\n"
        self._pool.send(head.encode("ascii") + content, partial(self._on_response, call, on_response))

    def _send_after_refresh(self, call: Call, on_response: OnApiResponse) -> None:
        if self._credentials is None:
            on_response(self._error)
        else:
            self.send(call, on_response)

    def _on_response(self, call: Call, on_response: OnApiResponse, response: HttpResponse | CloudError) -> None:
        if not isinstance(response, HttpResponse):
            on_response(response)
            return
        if response.status >= 300:
            error = self._parse(call, response)
            if isinstance(error, CloudError) and error_mapping.blames_credentials(error):
                self._source.reject()
                self._rejected = True  # the next call waits until they were read again
            on_response(error)
            return
        self._rejected = False  # others' calls were: that device may do less
        is_json = (
            response.raw_headers.get(b"Content-Type") == b"application/json"
        )  # spares most the decoding of headers
        error = None if is_json else error_mapping.check_content_type(response.headers)
        if error is not None:
            on_response(error)
        elif isinstance(call, SendHeartbeat):
            on_response(_version(response))
        else:
            on_response(self._parse(call, response))

    def _parse(self, call: Call, response: HttpResponse) -> ApiResponse | CloudError:
        """By botocore's parser, so an answer that is not the API's is reported as by boto3. It takes no body for {}."""
        if response.status < 300 and not response.body.strip():
            return error_mapping.empty_response()
        shape = self._model.operation_model(type(call).__name__).output_shape
        raw = {"status_code": response.status, "headers": response.headers, "body": response.body}
        try:
            parsed = self._parser.parse(raw, shape)
            if response.status < 300:
                if isinstance(call, GetDeviceRegistration):  # the parser drops what the API has not
                    members = json.loads(response.body)
                    parsed |= {name: members[name] for name in ("RegistrationTime",) if name in members}
                return serializer.parse_response(call, parsed)
            return error_mapping.from_response(parsed)
        except Exception as error:
            return error_mapping.error_from_exception(error)

    def _refresh_soon(self) -> "asyncio.Task[None]":
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        return self._refreshing

    async def _refresh(self) -> None:
        """In a thread: boto3 may call other services to renew credentials."""
        try:
            found = await asyncio.to_thread(self._source.get_frozen_credentials)
            credentials = AwsCredentials(str(found.access_key), str(found.secret_key), found.token)
            if credentials != self._credentials:
                self._credentials = credentials
        except Exception as error:
            self._error = error_mapping.error_from_exception(error)
        finally:
            self._rejected = False
            self._refreshed = time.monotonic()
            self._refreshing = None

    def close(self) -> None:
        """Calls in flight get no response."""
        self._pool.close()


def _version(response: HttpResponse) -> DeviceVersion | None:
    """Of the device of an accepted heartbeat; None: the service does not say it."""
    found = response.raw_headers.get(VERSION_HEADER) or response.raw_headers.get(TITLE_HEADER)
    return None if found is None else DeviceVersion(found, "latin-1")


def _tls(session: Any) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=session._session.get_config_variable("ca_bundle") or None)
