"""A small HTTP server that notes each request and answers as the test says. No test of its own; knows no API."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived: the JSON body field by field, and who signed it for what."""

    method: str
    path: str
    kind: str | None
    body: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. `status` 0: cut the connection. `hang`: do not answer before the test ends."""

    status: int = 200
    body: str = ""
    kind: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False


@dataclass
class Recorder:
    """`answers` are given one after another, to a path of `always` that one; else an empty 200, as for a heartbeat."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    always: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        kind = request.headers.get("Content-Type")
        self.requests.append(Request(request.method, request.raw_path, kind, json.loads(text) if text else None))
        answer = self.always.get(request.path) or (self.answers.pop(0) if self.answers else Answer())
        if answer.hang:
            await self.over.wait()
        if answer.status == 0 or answer.hang:
            assert request.transport is not None
            request.transport.abort()
        headers = answer.headers | ({"Content-Type": answer.kind} if answer.kind else {})
        return web.Response(status=answer.status or 200, body=answer.body.encode(), headers=headers)


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """A recorder on a free loopback port."""
    recorder = Recorder()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", recorder._handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        recorder.url = f"http://{host}:{port}"
        yield recorder
    finally:
        recorder.over.set()
        await runner.cleanup()
