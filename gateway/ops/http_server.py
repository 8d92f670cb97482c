"""Pages over HTTP/1.1, on the asyncio loop: a request for each connection, answered and closed. httptools reads it.

Knows nothing of what the pages say. A stranger takes no more of the gateway than LARGEST_REQUEST bytes for PATIENCE
seconds, and all of them together no more than VISITORS connections.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias, cast

import httptools

LARGEST_REQUEST = 16_384
PATIENCE = 10.0
"""Seconds from the connection to the end of the answer."""
VISITORS = 100

_MALFORMED = (httptools.HttpParserError, httptools.HttpParserUpgrade)


@dataclass(frozen=True, slots=True)
class PageResponse:
    """`kind`: its Content-Type."""

    kind: str
    body: bytes
    status: HTTPStatus = HTTPStatus.OK


Pages: TypeAlias = Mapping[str, Callable[[], PageResponse]]
"""By path; each is made anew for each request."""


class HttpServer:
    """Listens from `start` to `close`. `patience` in seconds."""

    def __init__(self, pages: Pages, patience: float = PATIENCE) -> None:
        self.pages = pages
        self.patience = patience
        self.visits: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """The port that is listened on; 0 takes a free one. Raises OSError, UnicodeError for a host that is none."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ServerConnection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Answers that are not through are cut off."""
        if self._server is not None:
            self._server.close()
            for visit in list(self.visits):
                visit.abort()
            await self._server.wait_closed()


class ServerConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._size = 0
        self._answered = False

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().call_later(self._server.patience, self.abort)
        self._server.visits.add(self)
        if len(self._server.visits) > VISITORS:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self._server.visits.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._size += len(data)
        if self._size > LARGEST_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            self._parser.feed_data(data)
        except _MALFORMED:
            self._refuse(HTTPStatus.BAD_REQUEST)

    # httptools' calls

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        page = self._server.pages.get(self._url.partition(b"?")[0].decode("latin-1"))
        if page is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        elif method not in (b"GET", b"HEAD"):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            self._answer(page(), bodiless=method == b"HEAD")

    def _refuse(self, status: HTTPStatus) -> None:
        self._answer(PageResponse("text/plain; charset=utf-8", f"{status} {status.phrase}\n".encode(), status))

    def _answer(self, page: PageResponse, bodiless: bool = False) -> None:
        if self._answered:
            return
        self._answered = True
        head = (
            f"HTTP/1.1 {page.status} {page.status.phrase}\r\nContent-Type: {page.kind}\r\n"
            f"Content-Length: {len(page.body)}\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + (b"" if bodiless else page.body))
        self._transport.close()
