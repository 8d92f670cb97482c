"""One connection: its requests are answered in order, one at a time, and bounded in size and time.

It must never decide what a request means: that is the handler's part. A client must never hold more than `Limits` says.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import structlog

from gateway.manager.errors import S3Error
from gateway.manager.http.limits import LEAST_RECEIVED, MAX_BODIES, Limits, Waiting
from gateway.manager.http.parser import RequestParser
from gateway.manager.http.requests import Handler, Receiver, Request
from gateway.manager.http.responses import RequestIds, Response, protocol_error, s3_error_response

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Server(Protocol):
    """What all connections share. `buffer`: for each read. `held`: bytes of unfinished bodies.

    `on_refused` is called with the limit that a client met: head, bodies or time.
    """

    handler: Handler
    limits: Limits
    buffer: memoryview
    held: int
    closing: bool
    on_refused: Callable[[str], None]

    def admit(self, connection: "HttpConnection") -> bool:
        """False: there are as many as may be. The caller then ends it, and nothing else follows."""

    def discard(self, connection: "HttpConnection") -> None:
        """It has ended."""

    def on_left(self, target: str) -> None:
        """A client ended its connection before it had the whole answer."""


class HttpConnection(asyncio.BufferedProtocol):
    """One connection. A pipelined request is begun when the one before it is answered; till then nothing is read.

    A BufferedProtocol, since asyncio else has 256 KiB of memory mapped for each read: 20 us.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._handler = server.handler
        self._transport: asyncio.Transport
        # Being received. `_held`: of `server.held`
        self._parser = RequestParser()
        self._unparsed = b""
        self._held = 0
        # Being answered. `_progress`: grows while the client reads
        self._answering: Request | None = None
        self._persistent = True
        self._awaited: asyncio.Future[Exception | None] | None = None
        """For which the check of a head waits."""
        self._sending: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._at_work = self._paused = self._ended = self._eof = False
        self._progress = 0
        self._received = 0
        """Bytes that a receiver got and that `_progress` does not count yet."""
        # Of the server's looks
        self._seen: tuple[Waiting, int, int] | None = None
        self._since = 0.0

    # Called by the server

    def expire(self, now: float) -> None:
        """Ends the connection that has been in one state for too long. `now`: in seconds, by any clock."""
        unread = self._transport.get_write_buffer_size()
        state = (Waiting.READER if unread else self._waiting(), self._parser.progress + self._progress, unread)
        if state != self._seen:
            self._seen, self._since = state, now
        elif now - self._since >= self._server.limits.seconds(state[0]):
            if state[0] in (Waiting.HEAD, Waiting.BODY):
                self._server.on_refused("time")
                self._refuse(self._timeout())
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
        self._ended = True
        self._transport.abort()

    def _timeout(self) -> Response:
        detail = "the request did not come to its end"
        if self._receiver is None:
            return protocol_error(408, "RequestTimeoutException", detail)
        return s3_error_response(S3Error("RequestTimeout", detail, 400), RequestIds()())

    @property
    def _receiver(self) -> Receiver | None:
        """Of the request whose body is not complete."""
        return None if self._parser.incomplete is None else self._parser.incomplete.receiver

    def _waiting(self) -> Waiting:
        if self._ended:
            return Waiting.END
        is_full = self._receiver is not None and self._receiver.is_full
        if self._answering is not None or self._awaited is not None or is_full:
            return Waiting.ANSWER
        return self._parser.waiting

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._parser.address = peer[0] if isinstance(peer, tuple) else ""
        if self._server.closing:
            self.abort()
        elif not self._server.admit(self):
            self._ended = True
            busy = protocol_error(503, "ServiceUnavailableException", "too many connections", {"Retry-After": "1"})
            self._transport.write(busy.encode(persistent=False, head_only=False))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        left = not self._ended
        self._ended = True
        self._hold(0)
        self._server.discard(self)
        for request in (self._parser.incomplete, *self._parser.complete):
            if isinstance(request, Request) and request.receiver is not None:
                request.receiver.abandon()
        if self._sending is not None:
            if left and self._answering is not None:
                self._server.on_left(self._answering.target)
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
        if not self._parser.refused:  # else it is what is left of a request whose answer is known
            self._unparsed += bytes(self._server.buffer[:nbytes])
            self._work()

    def eof_received(self) -> bool:
        """True: the connection stays open until what was received is answered."""
        self._eof = True
        return not self._ended and (self._answering is not None or bool(self._parser.complete))

    # The order of work

    def _work(self) -> None:
        """Parses what was received and begins its requests, one at a time; returns where only an event leads on."""
        if self._at_work:
            return
        self._at_work = True
        parser = self._parser
        while self._answering is None and self._awaited is None and not self._ended and self._writable.is_set():
            if parser.complete:
                self._begin(parser.complete.popleft())
            elif parser.refused or (self._receiver is not None and self._receiver.is_full):
                break
            elif self._unparsed:
                self._parse()
            elif parser.incomplete is None or not self._check_incomplete(parser.incomplete):
                break
        self._at_work = False
        if self._ended:
            self._unparsed = b""
        if bool(self._unparsed) != self._paused and not self._transport.is_closing():
            self._paused = not self._paused
            (self._transport.pause_reading if self._paused else self._transport.resume_reading)()

    def _parse(self) -> None:
        data, self._unparsed = self._unparsed, b""
        self._parser.feed(data)
        if self._parser.refused:
            self._hold(0)
        if self._parser.head_too_large:
            self._server.on_refused("head")

    def _check_incomplete(self, request: Request) -> bool:
        """Refuses a request whose body is not complete, where that needs no more of it. False: it may go on."""
        if not request.checked:
            response = self._handler.check_head(request)
            if isinstance(response, asyncio.Future):
                self._wait(response)
                return False
            request.checked = True
            if response is not None:
                self._refuse(response)
                return True
            if request.receiver is not None:
                request.receiver.on_change = self._work
            if request.known.get(b"expect", b"").lower() == b"100-continue" and not self._parser.body:
                self._transport.write(_CONTINUE)
        if request.receiver is not None:
            return self._pass_on(request, request.receiver)
        size = len(self._parser.body)
        if size > self._server.limits.max_body:
            self._refuse(self._handler.too_large(request))
            return True
        self._hold(size)
        if self._server.held > MAX_BODIES:
            self._server.on_refused("bodies")
            detail = "too many requests are being received"
            self._refuse(protocol_error(503, "ServiceUnavailableException", detail, {"Retry-After": "1"}))
            return True
        return False

    def _pass_on(self, request: Request, receiver: Receiver) -> bool:
        """What came of the body. True: it is refused."""
        if receiver.error is not None:
            self._refuse(self._handler.receiver_failed(request))
            return True
        data = self._parser.take_body()
        self._received += len(data)
        self._progress += self._received // LEAST_RECEIVED
        self._received %= LEAST_RECEIVED
        receiver.receive(data)
        return False

    def _wait(self, awaited: "asyncio.Future[Exception | None]") -> None:
        self._awaited = awaited
        awaited.add_done_callback(self._go_on)

    def _go_on(self, awaited: "asyncio.Future[Exception | None]") -> None:
        self._awaited = None
        self._work()

    def _refuse(self, response: Response) -> None:
        if self._receiver is not None:
            self._receiver.abandon()
        self._parser.refuse(response)
        self._unparsed = b""
        self._hold(0)

    def _hold(self, size: int) -> None:
        """So many bytes of an unfinished body."""
        self._server.held += size - self._held
        self._held = size

    def _begin(self, request: Request | Response) -> None:
        if isinstance(request, Response):
            self._persistent = False
            incomplete = self._parser.incomplete
            self._send(request, head_only=incomplete is not None and incomplete.method == "HEAD")
            return
        response = None
        if not request.checked:
            checked = self._handler.check_head(request)
            if checked is not None and isinstance(checked, asyncio.Future):
                self._parser.complete.appendleft(request)
                self._wait(checked)
                return
            request.checked, response = True, checked
        if self._held:
            self._hold(0)
        self._answering = request
        self._persistent = self._persistent and request.persistent
        is_held = request.receiver is None
        if response is None and is_held and len(request.body) > self._server.limits.max_body:
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
        if not self._persistent or (self._eof and not self._parser.complete and not self._unparsed):
            self._end()
        self._work()

    def _end(self) -> None:
        """What the client still sends is read and dropped for a while: a reset could take the response from it."""
        self._ended = True
        if self._eof or not (self._parser.refused or self._parser.incomplete or self._unparsed):
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
