"""Streams of a page's changes (server-sent events) to the browsers that look at it, on aiohttp.

On the event loop of the console alone. It must never tell anything to who may not see the page any more.
"""

import asyncio
import functools
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web

from gateway.manager.console.answering import Answerer
from gateway.manager.console.live import LivePages, LiveParts
from gateway.manager.console.requests import ConsoleRequest
from gateway.manager.console.views import View, find_view
from gateway.manager.errors import StoreUnavailable

CHECKED = 15.0
"""Seconds after which a live page asks again whether its viewer may see it, and says that the stream goes on: proxies
cut a connection on which nothing comes for longer."""
LIVE_TAKES_S = 10.0
"""Seconds in which a browser takes a message."""
END = "event: end\ndata:\n\n"
"""The page is not there any more, or not for this viewer: the browser does not ask again."""


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A page, by its path and query, as viewers of one role see it."""

    target: str
    role: str


class LiveStreams:
    """`most`: streams at once; further ones get 503."""

    def __init__(self, answerer: Answerer, views: Sequence[View], threads: ThreadPoolExecutor, most: int) -> None:
        self._answerer = answerer
        self._views = views
        self._threads = threads
        self._most = most
        self._streams = 0
        self._pages = LivePages(self._make_parts)
        self._closing = asyncio.Event()

    def end(self) -> None:
        """All streams end; browsers ask again later."""
        self._closing.set()

    async def answer(self, request: web.Request, asked: ConsoleRequest) -> web.StreamResponse:
        """The live parts of the page that `page` names, as they change. `asked`: the same request."""
        key = await self._key(asked)
        if key is None:
            raise web.HTTPForbidden
        if self._streams >= self._most:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "60"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self._streams += 1
        try:
            await response.prepare(request)
            await self._send_changes(response, asked, key)
        except (TimeoutError, ConnectionError):
            pass  # the browser left, or does not read: it asks again
        finally:
            self._streams -= 1
        return response

    async def _send_changes(self, response: web.StreamResponse, asked: ConsoleRequest, key: LiveKey) -> None:
        closing = asyncio.create_task(self._closing.wait())
        changes: asyncio.Task[LiveParts | None] | None = None
        checked = time.monotonic()
        try:
            async with self._pages.watching(key) as watch:
                while not closing.done():
                    changes = changes or asyncio.create_task(watch.changes())
                    left = checked + CHECKED - time.monotonic()
                    await asyncio.wait({changes, closing}, timeout=max(left, 0.0), return_when=asyncio.FIRST_COMPLETED)
                    message = ""
                    if time.monotonic() >= checked + CHECKED:
                        checked, message = time.monotonic(), ":\n\n"
                        if await self._key(replace(asked, now=time.time())) != key:
                            return await _send(response, END)
                    if changes.done():
                        parts, changes = changes.result(), None
                        if parts is None:
                            return await _send(response, END)
                        message = f"data: {json.dumps(parts)}\n\n"
                    await _send(response, message)
        finally:
            for task in filter(None, (closing, changes)):
                task.cancel()

    async def _key(self, asked: ConsoleRequest) -> LiveKey | None:
        """What the viewer may see live; None: nothing, or there is no such page."""
        target = asked.query.get("page", "")
        found = find_view(self._views, urlsplit(target).path)
        ask = functools.partial(self._answerer.live_role, None if found is None else found[0], asked)
        try:
            role = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except StoreUnavailable:
            return None
        return None if role is None else LiveKey(target, role)

    async def _make_parts(self, key: LiveKey) -> LiveParts | None:
        parts = urlsplit(key.target)
        found = find_view(self._views, parts.path)
        if found is None:
            return None
        view, parameters = found
        asked = ConsoleRequest(
            *("GET", unquote(parts.path), time.time(), key.target, parameters),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        )
        make = functools.partial(self._answerer.live_parts, view, asked, key.role)
        return await asyncio.get_running_loop().run_in_executor(self._threads, make)


async def _send(response: web.StreamResponse, text: str) -> None:
    """Raises TimeoutError where the browser does not take it."""
    async with asyncio.timeout(LIVE_TAKES_S):
        await response.write(text.encode())
