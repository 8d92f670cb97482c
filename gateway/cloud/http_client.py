"""HTTP/1.1 POSTs to one origin over persistent connections, on the asyncio loop. httptools parses the responses.

It must never retry a request (the caller gets the error), nor depend on AWS.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import httptools

from gateway.addresses import attempt_delay
from gateway.errors import CloudError, OperatorError, TransientError, explain

MAX_RESPONSE = (1 << 20) + 65_536
"""Bytes of a response, with its head."""
BODY_LENGTH_HEADERS = {b"content-length", b"transfer-encoding"}
"""With one of them a body that ends early is an error."""
PLAIN_PORT = "does this port speak TLS? If not, the URL begins with http://"
TLS_PORT = "does this port speak TLS? Then the URL begins with https://"
EXPIRE_INTERVAL = 0.25
"""Seconds between two checks for requests that take too long."""


@dataclass(slots=True)
class HttpResponse:
    """`raw_headers`: as they came."""

    status: int
    raw_headers: dict[bytes, bytes]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.raw_headers.items()}


OnHttpResponse: TypeAlias = Callable[[HttpResponse | CloudError], None]


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """`tls` None: plain HTTP. Timeouts in seconds. At most `connections` are open."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    connections: int
    connect_timeout: float
    read_timeout: float


class ConnectionPool:
    """Connections to one origin. A request that finds none idle is queued."""

    def __init__(self, origin: HttpOrigin) -> None:
        self.origin = origin
        self.has_answered = False
        """Whether a response has come, so that the other side speaks HTTP."""
        self._loop = asyncio.get_running_loop()
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._queue: deque[tuple[bytes, OnHttpResponse]] = deque()
        self._expiry = self._loop.call_later(EXPIRE_INTERVAL, self._expire)

    def __repr__(self) -> str:
        where = f"{self.origin.host}:{self.origin.port}"
        return f"<ConnectionPool {where}, {len(self._open)} open, {len(self._queue)} requests queued>"

    def send(self, request: bytes, on_response: OnHttpResponse) -> None:
        """Send a whole request. `on_response` gets the response, TransientError, or OperatorError (certificate)."""
        if self._idle:
            self._idle.pop().send(request, on_response)
            return
        self._queue.append((request, on_response))
        self._open_more()

    def _open_more(self) -> None:
        """Open a connection for each queued request, within the limit."""
        while len(self._opening) < min(len(self._queue), self.origin.connections - len(self._open)):
            self._opening.add(self._loop.create_task(self._open_one()))

    async def _open_one(self) -> None:
        connection = await self._connect()
        self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))  # first: another may open now
        if isinstance(connection, ClientConnection):
            self._open.add(connection)
            self.release(connection)
        elif self._queue:
            self._queue.popleft()[1](connection)
        self._open_more()

    async def _connect(self) -> "ClientConnection | CloudError":
        origin = self.origin
        try:
            async with asyncio.timeout(origin.connect_timeout):
                _, connection = await self._loop.create_connection(
                    lambda: ClientConnection(self),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    happy_eyeballs_delay=attempt_delay(origin.host),
                )
        except ssl.SSLCertVerificationError as error:
            return OperatorError("SSLError", str(error))
        except TimeoutError:
            return TransientError("ConnectTimeoutError", f"{origin.host}:{origin.port}")
        except OSError as error:
            hint = f"; {PLAIN_PORT}" if origin.tls and isinstance(error, ssl.SSLError | ConnectionResetError) else ""
            return TransientError("EndpointConnectionError", explain(error, f"{origin.host}:{origin.port}") + hint)
        return connection

    def release(self, connection: "ClientConnection") -> None:
        """The connection is idle: it gets the first queued request."""
        if self._queue:
            connection.send(*self._queue.popleft())
        else:
            self._idle.append(connection)

    def connection_lost(self, connection: "ClientConnection") -> None:
        """The connection is closed: others are opened for queued requests."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._open_more()

    def _expire(self) -> None:
        now = self._loop.time()
        for connection in [each for each in self._open if each.deadline < now]:
            connection.fail(TransientError("ReadTimeoutError", f"no answer in {self.origin.read_timeout:g} s"))
        self._expiry = self._loop.call_later(EXPIRE_INTERVAL, self._expire)

    def close(self) -> None:
        """Requests in flight get no response."""
        self._expiry.cancel()
        for task in self._opening:
            task.cancel()
        for connection in list(self._open):
            connection.close()


class ClientConnection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._on_response: OnHttpResponse | None = None
        self._status = self._size = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._response: HttpResponse | None = None
        self._keep_alive = False
        # httptools calls these two for each header and each part of the body: methods of C cost no Python call.
        self.on_header = self._headers.__setitem__
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self.deadline = float("inf")

    def send(self, request: bytes, on_response: OnHttpResponse) -> None:
        """Only while idle."""
        self._on_response = on_response
        self._status = self._size = 0
        self._headers.clear()
        self._body.clear()
        self._keep_alive = False
        self.deadline = self._loop.time() + self._pool.origin.read_timeout
        assert self._transport is not None
        self._transport.write(request)

    def fail(self, error: CloudError) -> None:
        """End the request with an error, and close the connection."""
        on_response, self._on_response = self._on_response, None
        self.close()
        if on_response is not None:
            on_response(error)

    def close(self) -> None:
        self.deadline = float("inf")
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        hint = f"; {TLS_PORT}" if not (self._pool.has_answered or self._pool.origin.tls) else ""
        self.fail(TransientError("ConnectionClosedError", f"{error or 'closed before the answer'}{hint}"))
        self._pool.connection_lost(self)

    def data_received(self, data: bytes) -> None:
        if self._on_response is None:
            self.close()  # a response without a request
            return
        self._size += len(data)
        if self._size > MAX_RESPONSE:
            self.fail(OperatorError("NotTheApi", f"an answer of more than {MAX_RESPONSE} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            hint = "" if self._pool.origin.tls else f"; {TLS_PORT}"
            self.fail(OperatorError("NotHttp", f"{error}{hint}"))
            return
        if self._response is not None:
            self._finish(self._response)

    def eof_received(self) -> None:
        """The end of a body whose length the headers do not give."""
        if self._on_response is None or not self._status:
            return
        if not {name.lower() for name in self._headers} & BODY_LENGTH_HEADERS:
            self._finish(self._received())

    def _received(self) -> HttpResponse:
        return HttpResponse(self._status, self._headers.copy(), b"".join(self._body))

    def _finish(self, response: HttpResponse) -> None:
        on_response, self._on_response, self._response = self._on_response, None, None
        self._pool.has_answered = True
        self.deadline = float("inf")
        if self._keep_alive:
            self._pool.release(self)
        else:
            self.close()
        if on_response is not None:
            on_response(response)

    # Called by httptools

    def on_message_begin(self) -> None:
        if self._response is not None:
            self._keep_alive = False  # more than the response that is due: the next one could be taken for another's

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        if self._response is None and not 100 <= self._status < 200:
            self._response, self._keep_alive = self._received(), self._parser.should_keep_alive()
        # An interim response (RFC 9110 15.2) says nothing of the final one; httptools raises at 101.
        self._status = 0
        self._headers.clear()
        self._body.clear()
