"""HTTP/1.1 on the asyncio loop: requests are parsed by httptools, bounded in size and time, and answered in order.

It must never decide what a request means: that is the handler's part. A client must never hold more than `Limits` says.

Time is not read for a request. Once in `Limits.interval` the server looks at every connection: one that stands where it
stood at the look before, for longer than that state may take, is ended.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, TypeAlias, cast

import httptools
import structlog

from gateway.manager.http.responses import Response, protocol_error
from gateway.manager.http.signatures import Authorization

MAX_HEAD = 16 * 1024
"""Bytes of a request's head at most, and of one read."""
MAX_BODIES = 128 * 1024 * 1024
"""Bytes of unfinished bodies that all connections together hold."""
BACKLOG = 1024
CLOSE_TIMEOUT = 5.0
"""Seconds for requests in flight, when the server ends."""
BUSY_LOG_INTERVAL = 60.0

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

_MALFORMED = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SINGLE_HEADERS = (b"host", b"transfer-encoding")


class Waiting(Enum):
    """What a connection waits for."""

    FIRST = auto()
    """The first byte of the first request."""
    IDLE = auto()
    """The first byte of another request."""
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    """The handler."""
    READER = auto()
    """The client, which has not read what was sent."""
    END = auto()
    """The end of what the client still sends, after the last answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds; each may be exceeded by twice `interval`. `max_body` in bytes."""

    connections: int = 4096
    max_body: int = 4 * 1024 * 1024
    head: float = 10.0
    body: float = 30.0
    idle: float = 75.0
    unread: float = 30.0
    end: float = 2.0
    interval: float = 1.0

    def seconds(self, waiting: Waiting) -> float:
        match waiting:
            case Waiting.FIRST | Waiting.HEAD:
                return self.head
            case Waiting.IDLE:
                return self.idle
            case Waiting.BODY:
                return self.body
            case Waiting.READER:
                return self.unread
            case Waiting.END:
                return self.end
            case Waiting.ANSWER:
                return float("inf")


@dataclass(slots=True)
class Request:
    """A request as it was received. `target`: the raw path with its query, still percent-encoded.

    `known`: the last value of each header, by its name in lower case. `persistent`: another request may follow.
    `checked`: the handler has seen the head. `authorization`: of a head that was signed.
    """

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    known: dict[bytes, bytes]
    persistent: bool
    body: bytes = field(default=b"", repr=False)
    checked: bool = False
    authorization: Authorization | None = None

    @property
    def content_length(self) -> int:
        return int(self.known.get(b"content-length", b"0"))

    @property
    def has_body(self) -> bool:
        return self.content_length > 0 or b"transfer-encoding" in self.known


Respond: TypeAlias = Callable[[Response], None]


class Handler(Protocol):
    """Answers requests. It must never raise."""

    def check_head(self, request: Request) -> Response | None:
        """The response that needs no body, which is then not read; None: the body decides. Called once a request."""

    def too_large(self, request: Request) -> Response:
        """The response to a body that is longer than `Limits.max_body`."""

    def handle(self, request: Request, respond: Respond) -> None:
        """Calls `respond` once, now or later, on the loop's thread."""


class ManagerServer:
    """Listens from `start` to `close`."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler = handler
        self.limits = limits
        self.connections: set[HttpConnection] = set()
        self.held = 0
        """Bytes of unfinished bodies."""
        self.closing = False
        self.buffer = memoryview(bytearray(MAX_HEAD))
        """For each read of each connection, which takes its bytes at once."""
        self._empty = asyncio.Event()
        self._next_busy_log = float("-inf")
        self._server: asyncio.Server | None = None
        self._look: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> int:
        """The port; 0 takes a free one. Raises OSError, or UnicodeError if `host` cannot be a host name."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HttpConnection(self), host, port, backlog=BACKLOG)
        self._look = loop.call_later(self.limits.interval, self._look_at_all)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends idle connections at once, those with a request once it is answered, all after CLOSE_TIMEOUT."""
        self.closing = True
        if self._server is None or self._look is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.finish()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while self.connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
        self._look.cancel()
        await self._server.wait_closed()

    def admit(self, connection: "HttpConnection") -> bool:
        """False: there are as many as may be. The caller then ends it; it is not one of `connections`."""
        if len(self.connections) < self.limits.connections:
            self.connections.add(connection)
            return True
        now = asyncio.get_running_loop().time()
        if now >= self._next_busy_log:
            self._next_busy_log = now + BUSY_LOG_INTERVAL
            event = "too many connections: further ones get 503; look who holds them, or raise --max-connections"
            LOG.warning(event, max_connections=self.limits.connections)
        return False

    def discard(self, connection: "HttpConnection") -> None:
        self.connections.discard(connection)
        self._empty.set()

    def _look_at_all(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self.limits.interval, self._look_at_all)
        now = loop.time()
        for connection in list(self.connections):
            connection.expire(now)


class HttpConnection(asyncio.BufferedProtocol):
    """One connection. A pipelined request is begun when the one before it is answered; till then nothing is read.

    A BufferedProtocol, since asyncio else has 256 KiB of memory mapped for each read: 20 us.
    """

    def __init__(self, server: ManagerServer) -> None:
        self._server = server
        self._handler = server.handler
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        # Of the request that is being received
        self._receiving = Waiting.FIRST
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body = bytearray()
        self._overhead = 0
        self._held = 0
        # Received: not parsed yet; complete, or what was wrong instead of a request
        self._unparsed = b""
        self._complete: deque[Request | Response] = deque()
        # Being answered
        self._answering: Request | None = None
        self._persistent = True
        self._sending: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._at_work = self._paused = self._refused = self._ended = self._eof = False
        # Of the server's looks
        self._progress = 0
        self._seen: tuple[Waiting, int, int] | None = None
        self._since = 0.0

    # Called by the server

    def expire(self, now: float) -> None:
        """Ends the connection where it has stood in one state for too long."""
        unread = self._transport.get_write_buffer_size()
        state = (Waiting.READER if unread else self._waiting(), self._progress, unread)
        if state != self._seen:
            self._seen, self._since = state, now
        elif now - self._since >= self._server.limits.seconds(state[0]):
            if state[0] in (Waiting.HEAD, Waiting.BODY):
                self._refuse(protocol_error(408, "RequestTimeoutException", "the request did not come to its end"))
                self._work()
            elif state[0] in (Waiting.FIRST, Waiting.IDLE):
                self._transport.close()
            else:
                self.abort()

    def finish(self) -> None:
        """The request that is being answered is the last one."""
        self._persistent = False
        if self._answering is None:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _waiting(self) -> Waiting:
        if self._ended:
            return Waiting.END
        return self._receiving if self._answering is None else Waiting.ANSWER

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._server.closing:
            self.abort()
        elif not self._server.admit(self):
            self._ended = True
            busy = protocol_error(503, "ServiceUnavailableException", "too many connections", {"Retry-After": "1"})
            self._transport.write(busy.encode(persistent=False, head_only=False))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._release_body()
        self._server.discard(self)
        if self._sending is not None:
            self._sending.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._progress += 1
        self._writable.set()
        self._work()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._refused:  # else it is what is left of a request whose answer is known
            self._unparsed += bytes(self._server.buffer[:nbytes])
            self._work()

    def eof_received(self) -> bool:
        """True: the connection stays open until what was received is answered."""
        self._eof = True
        return not self._ended and (self._answering is not None or bool(self._complete))

    # The order of work

    def _work(self) -> None:
        """Parses what was received and begins its requests, one at a time; returns where only an event leads on."""
        if self._at_work:
            return
        self._at_work = True
        while self._answering is None and not self._ended and self._writable.is_set():
            if self._complete:
                self._begin(self._complete.popleft())
            elif self._unparsed and not self._refused:
                self._parse()
            elif self._request is None or self._refused or not self._check_incomplete(self._request):
                break
        self._at_work = False
        if self._ended:
            self._unparsed = b""
        if bool(self._unparsed) != self._paused and not self._transport.is_closing():
            self._paused = not self._paused
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()

    def _parse(self) -> None:
        data, self._unparsed = self._unparsed, b""
        before = self._request, len(self._body)
        try:
            self._parser.feed_data(data)
        except _MALFORMED as error:
            if isinstance(error, httptools.HttpParserUpgrade):
                self._refused = True  # it is answered in HTTP/1.1, and is the last one
            else:
                self._refuse(protocol_error(400, "BadRequestException", f"the request is not HTTP/1.1: {error}"))
            return
        if self._receiving is Waiting.HEAD:
            self._overhead += len(data)
            if self._overhead > 2 * MAX_HEAD:
                self._refuse_head()
        elif self._request is not None and self._request is before[0]:
            # Lengths of chunks and trailers, of which httptools keeps each until it is complete.
            self._overhead += len(data) - (len(self._body) - before[1])
            if self._overhead > 4 * MAX_HEAD + len(self._body) // 8:
                self._refuse(protocol_error(400, "BadRequestException", "too much between the parts of the body"))

    def _check_incomplete(self, request: Request) -> bool:
        """Refuses a request whose body is not complete, where that needs no more of it. False: it may go on."""
        if not request.checked:
            request.checked = True
            response = self._handler.check_head(request)
            if response is not None:
                self._refuse(response)
                return True
            if request.known.get(b"expect", b"").lower() == b"100-continue" and not self._body:
                self._transport.write(_CONTINUE)
        if len(self._body) > self._server.limits.max_body:
            self._refuse(self._handler.too_large(request))
            return True
        self._server.held += len(self._body) - self._held
        self._held = len(self._body)
        if self._server.held > MAX_BODIES:
            detail = "too many requests are being received"
            self._refuse(protocol_error(503, "ServiceUnavailableException", detail, {"Retry-After": "1"}))
            return True
        return False

    def _refuse(self, response: Response) -> None:
        """The last response of this connection, after those to the requests that are complete."""
        if not self._refused:
            self._refused = True
            self._unparsed = b""
            self._release_body()
            self._complete.append(response)

    def _refuse_head(self) -> None:
        detail = f"the request's head is larger than {MAX_HEAD} bytes"
        self._refuse(protocol_error(431, "RequestHeaderFieldsTooLargeException", detail))

    def _release_body(self) -> None:
        self._server.held -= self._held
        self._held = 0

    def _begin(self, request: Request | Response) -> None:
        if isinstance(request, Response):
            self._persistent = False
            self._send(request, head_only=self._request is not None and self._request.method == "HEAD")
            return
        self._answering = request
        self._persistent = self._persistent and request.persistent
        response = None
        if not request.checked:
            request.checked = True
            response = self._handler.check_head(request)
        if response is None and len(request.body) > self._server.limits.max_body:
            response = self._handler.too_large(request)
        if response is not None:
            self._persistent = self._persistent and not request.has_body  # as where the body has not come yet
            self._respond(response)
        else:
            self._handler.handle(request, self._respond)

    def _respond(self, response: Response) -> None:
        request = self._answering
        if request is None or self._transport.is_closing():
            response.close()
            return
        self._send(response, head_only=request.method == "HEAD")

    def _send(self, response: Response, head_only: bool) -> None:
        file = response.file
        self._transport.write(response.encode(self._persistent, head_only or file is not None))
        if file is None or head_only:
            response.close()
            self._sent()
        else:
            self._sending = asyncio.get_running_loop().create_task(self._send_file(response))

    async def _send_file(self, response: Response) -> None:
        """In chunks, each read in a thread and once the one before it is mostly sent."""
        assert response.file is not None
        try:
            async for chunk in response.file.chunks():
                self._transport.write(chunk)
                self._progress += 1
                await self._writable.wait()
        except OSError as error:
            LOG.error("a model file could not be read to its end: the caller gets a part of it", detail=str(error))
            self.abort()
        finally:
            response.close()
        self._sending = None
        self._sent()

    def _sent(self) -> None:
        self._answering = None
        if not self._persistent or (self._eof and not self._complete and not self._unparsed):
            self._end()
        else:
            self._work()

    def _end(self) -> None:
        """What the client still sends is read and dropped for a while: a reset could take the response from it."""
        self._ended = True
        if self._eof or not (self._refused or self._request or self._unparsed):
            self._transport.close()
        elif not self._transport.is_closing():
            self._refused = True
            self._transport.write_eof()

    # Called by httptools

    def on_message_begin(self) -> None:
        self._receiving = Waiting.HEAD
        self._progress += 1
        self._target = b""
        self._headers = []
        self._overhead = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._receiving is Waiting.HEAD:  # else it is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        self._receiving = Waiting.BODY
        version = parser.get_http_version()
        known = {name.lower(): value for name, value in headers}
        self._request = Request(
            parser.get_method().decode("ascii"),
            self._target.decode("utf-8", "surrogateescape"),
            headers,
            known,
            version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade(),
        )
        if self._overhead and sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD - len(self._target):
            self._refuse_head()
        self._overhead = 0
        if version not in ("1.1", "1.0"):
            self._refuse(protocol_error(505, "HttpVersionNotSupportedException", "this is a server of HTTP/1.1"))
        elif b"host" not in known and version == "1.1":
            self._refuse(protocol_error(400, "BadRequestException", "a request has a Host header"))
        elif known.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self._refuse(protocol_error(501, "NotImplementedException", "Transfer-Encoding may be chunked"))
        elif len(known) != len(headers):
            names = [name.lower() for name, _ in headers]
            if any(names.count(name) > 1 for name in _SINGLE_HEADERS):
                self._refuse(protocol_error(400, "BadRequestException", "a header came twice that may come once"))

    def on_body(self, data: bytes) -> None:
        if not self._refused:
            self._body += data

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        self._receiving = Waiting.IDLE
        self._progress += 1
        if self._refused or request is None:
            return
        request.body = bytes(self._body)
        self._body.clear()
        if self._held:
            self._release_body()
        self._complete.append(request)
