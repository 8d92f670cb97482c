"""The express lane for SendHeartbeat: serialised, signed and sent here, since that costs a tenth of a call of boto3.

boto3 keeps what it is good for: credentials and their refresh, region, endpoint. The answer is read as boto3
reads it. No retries, no devices.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from gateway import body, faults
from gateway.calls import SendHeartbeat
from gateway.errors import CloudError, OperatorNeeded
from gateway.http1 import Answer, Pool, Target
from gateway.sigv4 import Credentials, Signer

REFRESH = 30.0
"""Seconds between two looks at the credentials; boto3 renews them ten minutes before they expire."""
PATH = "/SendHeartbeat"


def suits(client: Any) -> bool:
    """Whether the lane can be taken to this boto3 client's endpoint: proxies and odd paths are left to boto3."""
    url = client.meta.endpoint_url
    return urlsplit(url).path in ("", "/") and not client.meta.config.proxies and not get_environ_proxies(url)


class Express:
    """One lane. `session`: the boto3 session whose credentials sign."""

    def __init__(self, session: Any, client: Any, connections: int) -> None:
        config, url = client.meta.config, urlsplit(client.meta.endpoint_url)
        tls = _tls(session) if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        target = Target(url.hostname or "", port, tls, connections, config.connect_timeout, config.read_timeout)
        self._pool = Pool(target)
        self._signer = Signer(client.meta.region_name, "sagemaker", url.netloc)
        self._start = f"POST {PATH} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        self._source = session.get_credentials()
        self._credentials: Credentials | None = None
        self._fault: CloudError = OperatorNeeded("NoCredentialsError", "boto3 finds no credentials to sign with")
        self._refreshed = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    def send(self, call: SendHeartbeat, done: Callable[[CloudError | None], None]) -> None:
        """Send once; `done` hears what went wrong, or None, never before this returns."""
        stale = self._credentials is None or time.monotonic() - self._refreshed > REFRESH
        if stale and self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        if self._credentials is None:
            self._after_refresh(lambda: self._send(call, done))
        else:
            self._send(call, done)

    def _send(self, call: SendHeartbeat, done: Callable[[CloudError | None], None]) -> None:
        if self._credentials is None:
            asyncio.get_running_loop().call_soon(done, self._fault)
            return
        content = body.heartbeat(call)
        signature = self._signer.headers(self._credentials, PATH, content, time.time())
        head = f"{self._start}{signature}Content-Length: {len(content)}\r\n\r\n"
        self._pool.send(head.encode("ascii") + content, lambda answer: done(self._judged(answer)))

    def _judged(self, answer: Answer | Exception) -> CloudError | None:
        if not isinstance(answer, Answer):
            return answer if isinstance(answer, CloudError) else faults.of(answer)
        if answer.status < 300:
            return faults.of_page(answer.headers)
        self._refreshed = float("-inf")  # it may be the credentials
        return faults.of_answer(_as_boto3(answer))

    def _after_refresh(self, action: Callable[[], None]) -> None:
        assert self._refreshing is not None
        self._refreshing.add_done_callback(lambda task: action())

    async def _refresh(self) -> None:
        """In a thread: to renew credentials boto3 asks other services."""
        try:
            frozen = await asyncio.to_thread(self._source.get_frozen_credentials) if self._source else None
            found = Credentials(frozen.access_key, frozen.secret_key, frozen.token) if frozen else None
            if found != self._credentials:
                self._credentials = found
        except Exception as error:
            self._fault = faults.of(error)
        finally:
            self._refreshed = time.monotonic()
            self._refreshing = None

    def close(self) -> None:
        """Calls in flight are not told."""
        self._pool.close()


def _tls(session: Any) -> ssl.SSLContext:
    bundle = session._session.get_config_variable("ca_bundle")
    return ssl.create_default_context(cafile=bundle or None)


def _as_boto3(answer: Answer) -> dict[str, Any]:
    """The answer as botocore's parser of rest-json gives it: the code of the header, else of the body."""
    try:
        found = json.loads(answer.body or b"{}")
    except ValueError:
        found = {"message": answer.body.decode("utf-8", "replace")}
    found = found if isinstance(found, dict) else {}
    code = answer.headers.get("x-amzn-errortype") or found.get("code") or found.get("__type") or answer.status
    code = str(code).split(":")[0].rsplit("#", 1)[-1]
    message = found.get("message") or found.get("Message") or ""
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": answer.status}}
