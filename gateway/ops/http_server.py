"""An HTTP/1.1 server of GET pages on the asyncio loop: one request a connection. httptools parses the requests.

The caller provides the pages. A client must never use more than MAX_REQUEST bytes or TIMEOUT seconds, and all clients
together no more than MAX_CONNECTIONS connections.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias, cast

import httptools

MAX_REQUEST = 16_384
TIMEOUT = 10.0
"""Seconds from the connection to the end of the response."""
MAX_CONNECTIONS = 100

_MALFORMED = (httptools.HttpParserError, httptools.HttpParserUpgrade)


@dataclass(frozen=True, slots=True)
class PageResponse:
    content_type: str
    body: bytes
    status: HTTPStatus = HTTPStatus.OK


Pages: TypeAlias = Mapping[str, Callable[[], PageResponse]]
"""By path. The function is called for each request."""


class HttpServer:
    """Listens from `start` to `close`. `timeout` in seconds."""

    def __init__(self, pages: Pages, timeout: float = TIMEOUT) -> None:
        self.pages = pages
        self.timeout = timeout
        self.connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """The port; 0 takes a free one. Raises OSError, or UnicodeError if `host` cannot be a host name."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ServerConnection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Open connections are aborted."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.abort()
            await self._server.wait_closed()


class ServerConnection(asyncio.Protocol):
    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._size = 0
        self._responded = False

    def abort(self) -> None:
        self._transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(self._server.timeout, self.abort)
        self._server.connections.add(self)
        if len(self._server.connections) > MAX_CONNECTIONS:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._responded:
            return
        self._size += len(data)
        if self._size > MAX_REQUEST:
            self._respond_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            self._parser.feed_data(data)
        except _MALFORMED:
            self._respond_error(HTTPStatus.BAD_REQUEST)

    # Called by httptools

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        page = self._server.pages.get(self._url.partition(b"?")[0].decode("latin-1"))
        if page is None:
            self._respond_error(HTTPStatus.NOT_FOUND)
        elif method not in (b"GET", b"HEAD"):
            self._respond_error(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            self._respond(page(), head_only=method == b"HEAD")

    def _respond_error(self, status: HTTPStatus) -> None:
        self._respond(PageResponse("text/plain; charset=utf-8", f"{status} {status.phrase}\n".encode(), status))

    def _respond(self, response: PageResponse, head_only: bool = False) -> None:
        if self._responded:
            return
        self._responded = True
        head = (
            f"HTTP/1.1 {response.status} {response.status.phrase}\r\nContent-Type: {response.content_type}\r\n"
            f"Content-Length: {len(response.body)}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + (b"" if head_only else response.body))
        self._transport.close()
