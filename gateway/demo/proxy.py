"""A tap on the line between gateway and Edge Manager: hands every request and answer on, byte for byte, and tells them.

It listens on loopback, and must never change what passes: what it tells is what the manager got and answered.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway.demo.events import Call

HOST = "127.0.0.1"
MAX_BODY = 16 * 1024 * 1024
_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "upgrade"}
_NOT_ADDED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Tap:
    """`target`: the manager's URL, None while it is not known: then the gateway is told 503 and comes again."""

    def __init__(
        self, session: aiohttp.ClientSession, port: int, began: float, on_call: Callable[[Call], None]
    ) -> None:
        self.target: str | None = None
        self.port = port
        self._session = session
        self._began = began
        self._on_call = on_call

    async def handle(self, request: web.Request) -> web.Response:
        """One request. Calls of the API (POST) are told; model files (GET, HEAD) pass in silence."""
        body = await request.read()
        if self.target is None:
            return web.Response(status=503)
        try:
            answer = await self._passed_on(self.target, request, body)
        except aiohttp.ClientError:
            answer = web.Response(status=502)
        if request.method == "POST":
            self._tell(request, body, answer)
        return answer

    async def _passed_on(self, target: str, request: web.Request, body: bytes) -> web.Response:
        async with self._session.request(
            request.method,
            URL(target + request.raw_path, encoded=True),
            headers=_passing(request.headers.items()),
            data=body or None,
            skip_auto_headers=_NOT_ADDED,
            allow_redirects=False,
        ) as answer:
            return web.Response(
                status=answer.status, headers=_passing(answer.headers.items()), body=await answer.read() or None
            )

    def _tell(self, request: web.Request, body: bytes, answer: web.Response) -> None:
        line = len(f"{request.method} {request.raw_path} HTTP/1.1\r\n")
        head = line + sum(len(name) + len(value) + 4 for name, value in request.raw_headers) + 2
        operation = request.raw_path.partition("?")[0].strip("/")
        at = time.monotonic() - self._began
        content = answer.body if isinstance(answer.body, bytes) else b""
        self._on_call(Call(at, operation, body, head, answer.status, content))


@asynccontextmanager
async def tapping(port: int, began: float, on_call: Callable[[Call], None]) -> AsyncIterator[Tap]:
    """A tap that listens on `port` of loopback. Raises OSError where it cannot."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        tap = Tap(session, port, began, on_call)
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", tap.handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield tap
        finally:
            await runner.cleanup()


def _passing(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION)
