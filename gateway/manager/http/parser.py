"""Bytes of one connection -> requests, and what was wrong instead of the next one. No I/O, no clock.

httptools finds the parts. What it lets through and HTTP/1.1 does not is refused here, and a head without end.
"""

from collections import deque

import httptools

from gateway.manager.http.limits import MAX_HEAD, Waiting
from gateway.manager.http.requests import Request
from gateway.manager.http.responses import Response, protocol_error

_SINGLE_HEADERS = (b"host", b"transfer-encoding")


class RequestParser:
    """`feed` adds to `complete`: requests in their order, the last response after them.

    `waiting`: for which part of a request. `progress` grows with each that begins or ends. `incomplete`: the request
    of which the head is complete and the body is not; `body`: so much of it. `refused`: no further request is taken.
    """

    def __init__(self) -> None:
        self.waiting = Waiting.FIRST
        self.progress = 0
        self.complete: deque[Request | Response] = deque()
        self.incomplete: Request | None = None
        self.body = bytearray()
        self._taken = 0
        """Bytes of the body that `take_body` returned."""
        self.refused = False
        self.address = ""
        """Of who sends, for the requests."""
        self.head_too_large = False
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._overhead = 0
        """Bytes of the head so far; then those that came with the body and are none of it."""

    def feed(self, data: bytes) -> None:
        before, length = self.incomplete, len(self.body)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refused = True  # it is answered in HTTP/1.1, and is the last one
            return
        except httptools.HttpParserError as error:
            self.refuse(protocol_error(400, "BadRequestException", f"the request is not HTTP/1.1: {error}"))
            return
        if self.waiting is Waiting.HEAD:
            self._overhead += len(data)
            if self._overhead > 2 * MAX_HEAD:
                self._refuse_head()
        elif self.incomplete is not None and self.incomplete is before:
            # Lengths of chunks and trailers, of which httptools keeps each until it is complete.
            self._overhead += len(data) - (len(self.body) - length)
            if self._overhead > 4 * MAX_HEAD + (self._taken + len(self.body)) // 8:
                self.refuse(protocol_error(400, "BadRequestException", "too much between the parts of the body"))

    def refuse(self, response: Response) -> None:
        """The last response of this connection, after those to the requests that are complete."""
        if not self.refused:
            self.refused = True
            self.complete.append(response)

    def take_body(self) -> bytes:
        """So much of the body of `incomplete` as is here; it is not held any more."""
        taken = bytes(self.body)
        self._taken += len(taken)
        self.body.clear()
        return taken

    def _refuse_head(self) -> None:
        self.head_too_large = True
        detail = f"the request's head is larger than {MAX_HEAD} bytes"
        self.refuse(protocol_error(431, "RequestHeaderFieldsTooLargeException", detail))

    # Called by httptools

    def on_message_begin(self) -> None:
        self.waiting = Waiting.HEAD
        self.progress += 1
        self._target = b""
        self._headers = []
        self._overhead = self._taken = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.waiting is Waiting.HEAD:  # else it is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        self.waiting = Waiting.BODY
        version = parser.get_http_version()
        known = {name.lower(): value for name, value in headers}
        self.incomplete = Request(
            parser.get_method().decode("ascii"),
            self._target.decode("utf-8", "surrogateescape"),
            headers,
            known,
            version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade(),
            address=self.address,
        )
        if self._overhead and sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD - len(self._target):
            self._refuse_head()
        self._overhead = 0
        if version not in ("1.1", "1.0"):
            self.refuse(protocol_error(505, "HttpVersionNotSupportedException", "this is a server of HTTP/1.1"))
        elif b"host" not in known and version == "1.1":
            self.refuse(protocol_error(400, "BadRequestException", "a request has a Host header"))
        elif known.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self.refuse(protocol_error(501, "NotImplementedException", "Transfer-Encoding may be chunked"))
        elif len(known) != len(headers):
            names = [name.lower() for name, _ in headers]
            if any(names.count(name) > 1 for name in _SINGLE_HEADERS):
                self.refuse(protocol_error(400, "BadRequestException", "a header came twice that may come once"))

    def on_body(self, data: bytes) -> None:
        if not self.refused:
            self.body += data

    def on_message_complete(self) -> None:
        request, self.incomplete = self.incomplete, None
        self.waiting = Waiting.IDLE
        self.progress += 1
        if self.refused or request is None:
            return
        request.body = bytes(self.body)
        self.body.clear()
        self.complete.append(request)
