"""HTTP/1.1 POSTs to one host over connections that stay: as little as a call needs, on the asyncio loop.

httptools reads the answers. Knows no AWS and repeats nothing; a call that fails is told to whoever made it.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import httptools

from gateway.errors import CloudError, OperatorError, TransientError

LARGEST_ANSWER = 1 << 20
ENDS_BY_ITSELF = {"content-length", "transfer-encoding"}
"""Headers of a body that says where it ends: one that breaks off before is no answer."""
SWEEP = 0.25
"""Seconds between two looks for calls that take too long."""


@dataclass(slots=True)
class Response:
    """What came back; header names in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Done: TypeAlias = Callable[[Response | CloudError], None]


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """Where to: `tls` None for plain HTTP. Timeouts in seconds; `connections` at most are open at once."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    connections: int
    connect_timeout: float
    read_timeout: float


class ConnectionPool:
    """Connections to one host; what finds none free waits its turn."""

    def __init__(self, target: HttpOrigin) -> None:
        self.target = target
        self._loop = asyncio.get_running_loop()
        self._free: list[ClientConnection] = []
        self._all: set[ClientConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def __repr__(self) -> str:
        return f"<Pool {self.target.host}:{self.target.port}, {len(self._all)} open, {len(self._waiting)} waiting>"

    def send(self, request: bytes, done: Done) -> None:
        """Send a whole request; `done` hears the answer, or CallFailed, or OperatorNeeded for a certificate's fault."""
        if self._free:
            self._free.pop().send(request, done)
            return
        self._waiting.append((request, done))
        self._open_more()

    def _open_more(self) -> None:
        """Whoever waits has a connection coming, as far as there may be more."""
        while len(self._opening) < min(len(self._waiting), self.target.connections - len(self._all)):
            self._opening.add(self._loop.create_task(self._open()))

    async def _open(self) -> None:
        connection = await self._connected()
        self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))  # first: there is room for another
        if isinstance(connection, ClientConnection):
            self._all.add(connection)
            self.free(connection)
        elif self._waiting:
            self._waiting.popleft()[1](connection)
        self._open_more()

    async def _connected(self) -> "ClientConnection | CloudError":
        target = self.target
        try:
            async with asyncio.timeout(target.connect_timeout):
                _, connection = await self._loop.create_connection(
                    lambda: ClientConnection(self), target.host, target.port, ssl=target.tls
                )
        except ssl.SSLCertVerificationError as error:
            return OperatorError("SSLError", str(error))
        except TimeoutError:
            return TransientError("ConnectTimeoutError", f"{target.host}:{target.port}")
        except OSError as error:
            return TransientError("EndpointConnectionError", f"{target.host}:{target.port}: {error}")
        return connection

    def free(self, connection: "ClientConnection") -> None:
        """It has nothing to do: who waits first has it."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def gone(self, connection: "ClientConnection") -> None:
        """It is closed; others are opened for those who wait."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        self._open_more()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [each for each in self._all if each.deadline < now]:
            connection.fail(TransientError("ReadTimeoutError", f"no answer in {self.target.read_timeout:g} s"))
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def close(self) -> None:
        """Calls in flight are not told."""
        self._sweeper.cancel()
        for task in self._opening:
            task.cancel()
        for connection in list(self._all):
            connection.close()


class ClientConnection(asyncio.Protocol):
    """One request at a time, and its answer."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._response = Response()
        self._body: list[bytes] = []
        self._complete = self._keep = False
        self._parser = httptools.HttpResponseParser(self)
        self.deadline = float("inf")

    def send(self, request: bytes, done: Done) -> None:
        """Only while free."""
        self._done = done
        self._response, self._body, self._complete, self._keep = Response(), [], False, False
        self.deadline = self._loop.time() + self._pool.target.read_timeout
        assert self._transport is not None
        self._transport.write(request)

    def fail(self, error: CloudError) -> None:
        """The call is over, and so is the connection."""
        done, self._done = self._done, None
        self.close()
        if done is not None:
            done(error)

    def close(self) -> None:
        """Close it at once."""
        self.deadline = float("inf")
        if self._transport is not None:
            self._transport.abort()

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(TransientError("ConnectionClosedError", str(error or "closed before the answer")))
        self._pool.gone(self)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # an answer that nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(OperatorError("NotHttp", str(error)))
            return
        if self._complete:
            self._finish()

    def eof_received(self) -> None:
        """A body that does not say where it ends, ends here."""
        headers = self._response.headers
        if self._done is not None and self._response.status and not headers.keys() & ENDS_BY_ITSELF:
            self._finish()

    def _finish(self) -> None:
        done, self._done = self._done, None
        self.deadline = float("inf")
        response = self._response
        response.body = b"".join(self._body)
        if self._keep:
            self._pool.free(self)
        else:
            self.close()
        if done is not None:
            done(response)

    # httptools' calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._response.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        if sum(map(len, self._body)) > LARGEST_ANSWER:
            self.fail(OperatorError("NotTheApi", f"an answer of more than {LARGEST_ANSWER} bytes"))

    def on_message_complete(self) -> None:
        self._complete = True
        self._keep = self._parser.should_keep_alive()
