"""The web server of the console, on aiohttp: connections in bounds, requests in, answers out. It decides no answer.

It has an event loop of its own, in a thread of its own: calls of devices never wait for it.
"""

import asyncio
import errno
import functools
import logging
import resource
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import structlog
from aiohttp import web

from gateway.errors import explain
from gateway.manager.console.answering import Answerer
from gateway.manager.console.config import PORT, ConsoleConfig
from gateway.manager.console.errors import PageError
from gateway.manager.console.pages import VIEWS
from gateway.manager.console.rendering import StaticFile
from gateway.manager.console.requests import ConsoleAnswer, ConsoleRequest
from gateway.manager.console.security import HEADERS
from gateway.manager.console.streams import LiveStreams
from gateway.manager.console.uploads import UploadReader
from gateway.manager.console.views import ControlFunction, View
from gateway.manager.control.users import any_made
from gateway.manager.errors import ManagerError
from gateway.manager.loopback import is_loopback
from gateway.manager.place import Place
from gateway.manager.store import ObjectStore, Store, restrict_files

MOST_CONNECTIONS = 256
"""At once; fewer where few files may be open (`_allowed_connections`), of which devices need theirs."""
KEPT_ALIVE = 5.0
"""Seconds for which a connection is kept after an answer: a page and what it loads."""
PATIENCE = 30.0
"""Seconds for which a connection may be without a whole request, or not take its answer."""
SWEEP = 5.0
BODY_SECONDS = 10.0
MOST_BODY = 64 * 1024
"""Bytes of a form."""
THREADS = 2
"""Pages that are made at once."""
MOST_WAITING = 200
"""Pages that wait for that; further ones get 503."""
MOST_LOGINS = 16
"""Passwords that wait to be checked, one after the other."""
MOST_UPLOADS = 4
"""Files that are received at once; further ones get 503."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager.console")
_SILENT = logging.Logger("aiohttp of the console", logging.CRITICAL + 1)
"""aiohttp would write a traceback for each request that is none."""


@asynccontextmanager
async def serving_console(
    config: ConsoleConfig,
    place: Place,
    store: Store,
    control: ControlFunction,
    objects: ObjectStore,
    views: Sequence[View] = VIEWS,
) -> AsyncIterator[str | None]:
    """The console over an open store; its URL without a last slash. None: its usual port was taken.

    Raises ManagerError: it cannot listen there, or others could reach it and nobody must log in.
    """
    await asyncio.to_thread(_check_reach, config, place, store)
    answerer = Answerer(store, control, objects, config, views)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="console", daemon=True)
    thread.start()
    server = ConsoleServer(answerer, views, objects, config.max_object)
    try:
        port = await _on(loop, server.start(config))
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield None if port is None else f"http://{host}:{port}"
    finally:
        await _on(loop, server.close())
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def _on(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def _check_reach(config: ConsoleConfig, place: Place, store: Store) -> None:
    are_users = store.read(any_made)
    if are_users:
        restrict_files(place)
    if not are_users and config.trust_header is None and not is_loopback(config.host):
        todo = "`edge-gateway manager users add NAME --role admin` makes one, or listen on 127.0.0.1"
        raise ManagerError(f"--console-host {config.host}: without a user it serves this machine alone: {todo}")


class _Refusal(asyncio.Protocol):
    """Of a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class ConsoleServer:
    """From `start` to `close`, both on its own event loop."""

    def __init__(self, answerer: Answerer, views: Sequence[View], objects: ObjectStore, max_object: int) -> None:
        self._answerer = answerer
        self._views = views
        self._objects = objects
        self._max_object = max_object
        self._uploads = 0
        self._threads = ThreadPoolExecutor(THREADS, "console page")
        self._passwords = ThreadPoolExecutor(1, "console login")
        self._waiting = {self._threads: 0, self._passwords: 0}
        self._most = {self._threads: MOST_WAITING, self._passwords: MOST_LOGINS}
        self._allowed = _allowed_connections()
        self._streams = LiveStreams(answerer, views, self._threads, most=self._allowed // 2)
        self._since: dict[web.RequestHandler, float] = {}
        """When a connection began to be without a whole request."""
        self._busy: set[web.RequestHandler] = set()
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, config: ConsoleConfig) -> int | None:
        """The port. None: the usual one is taken."""
        app = web.Application(client_max_size=MOST_BODY)
        app.on_response_prepare.append(_protect)
        self._add_routes(app)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=KEPT_ALIVE,
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        port = PORT if config.port is None else config.port
        try:
            self._listener = await loop.create_server(self._connection, config.host, port)
        except (OSError, UnicodeError) as error:
            if config.port is None and isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                event = "the console is off: its port is taken; name another one (--console-port), or --no-console"
                LOG.warning(event, port=port)
                return None
            todo = "name another one (--console-port), or none (--no-console)"
            raise ManagerError(f"the console: {explain(error, f'{config.host}:{port}')}: {todo}") from error
        self._sweeper = asyncio.create_task(self._sweep())
        found: int = self._listener.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Ends after the pages that are being made."""
        self._streams.end()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for threads in self._waiting:
            await asyncio.to_thread(threads.shutdown)
        await asyncio.get_running_loop().shutdown_default_executor()

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._runner is not None
        assert self._runner.server is not None
        if len(self._runner.server.connections) >= self._allowed:
            return _Refusal()
        connection = self._runner.server()
        self._since[connection] = time.monotonic()
        return connection

    async def _sweep(self) -> None:
        """aiohttp waits as long as single bytes come, and for whoever does not read."""
        assert self._runner is not None
        assert self._runner.server is not None
        while True:
            await asyncio.sleep(SWEEP)
            late = time.monotonic() - PATIENCE
            connected = set(self._runner.server.connections)
            self._since = {each: since for each, since in self._since.items() if each in connected or since > late}
            for each in connected - self._busy:
                if self._since.get(each, late) <= late and each.transport is not None:
                    each.transport.abort()

    def _add_routes(self, app: web.Application) -> None:
        for name, file in self._answerer.renderer.static.items():
            app.router.add_get(f"/static/{name}", functools.partial(self._static, file))
        app.router.add_get("/login", self._in(self._threads, self._answerer.show_login))
        app.router.add_post("/login", self._in(self._passwords, self._answerer.log_in))
        app.router.add_post("/logout", self._in(self._threads, self._answerer.log_out))
        app.router.add_post("/theme", self._in(self._threads, self._answerer.set_theme))
        for view in self._views:
            add = app.router.add_post if view.changes else app.router.add_get
            answer = functools.partial(self._answerer.show, view)
            add(view.path, self._with_file(view) if view.takes_file else self._in(self._threads, answer))
        app.router.add_get("/live", self._stream)
        nothing = functools.partial(self._answerer.show, None)
        app.router.add_route("*", "/{rest:.*}", self._in(self._threads, nothing))

    def _in(self, threads: ThreadPoolExecutor, answer: Callable[[ConsoleRequest], ConsoleAnswer]) -> Any:
        """A handler of aiohttp that has the answer made by one of those threads."""

        async def handle(request: web.Request) -> web.StreamResponse:
            with self._kept_busy(request):
                return await self._answered(threads, answer, await _taken(request))

        return handle

    def _with_file(self, view: View) -> Any:
        """A handler of aiohttp for a form with a file, which is received only from whoever may send it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            with self._kept_busy(request):
                reader = UploadReader(request, self._objects, self._max_object)
                try:
                    return await self._received(request, view, reader)
                finally:
                    await reader.close()

        return handle

    async def _received(self, request: web.Request, view: View, reader: UploadReader) -> web.StreamResponse:
        taken = console_request(request, {})
        try:
            taken = replace(taken, form=await reader.fields())
            loop = asyncio.get_running_loop()
            refused = await loop.run_in_executor(self._threads, self._answerer.refuse_file, view, taken)
            if refused is not None:
                return _response(refused)
            if self._uploads >= MOST_UPLOADS:
                return _response(self._answerer.busy(taken))
            self._uploads += 1
            try:
                taken = replace(taken, file=await reader.file())
            finally:
                self._uploads -= 1
        except PageError as error:
            return _response(self._answerer.fail(error, taken))
        return await self._answered(self._threads, functools.partial(self._answerer.show, view), taken)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        with self._kept_busy(request):
            return await self._streams.answer(request, console_request(request, {}))

    @contextmanager
    def _kept_busy(self, request: web.Request) -> Iterator[None]:
        """Within it the connection is not taken for one without a request."""
        assert request.protocol is not None
        connection = request.protocol
        self._busy.add(connection)
        try:
            yield
        finally:
            self._busy.discard(connection)
            self._since[connection] = time.monotonic()

    async def _answered(
        self, threads: ThreadPoolExecutor, answer: Callable[[ConsoleRequest], ConsoleAnswer], taken: ConsoleRequest
    ) -> web.StreamResponse:
        if self._waiting[threads] >= self._most[threads]:
            return _response(self._answerer.busy(taken))
        self._waiting[threads] += 1
        try:
            return _response(await asyncio.get_running_loop().run_in_executor(threads, answer, taken))
        finally:
            self._waiting[threads] -= 1

    async def _static(self, file: StaticFile, request: web.Request) -> web.Response:
        """Its address changes with it."""
        self._since[request.protocol] = time.monotonic()
        kept = {"Content-Type": file.content_type, "Cache-Control": "public, max-age=31536000, immutable"}
        return _response(ConsoleAnswer(200, file.body, kept))


def _allowed_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, max(files // 16, 16))


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """Also aiohttp's own answers."""
    response.headers.update(HEADERS)
    response.headers["Server"] = "edge-manager"
    response.headers.setdefault("Cache-Control", "no-store")


async def _taken(request: web.Request) -> ConsoleRequest:
    """Raises aiohttp's answers where the form is too large, or comes too slowly."""
    form: dict[str, str] = {}
    if request.method == "POST":
        try:
            async with asyncio.timeout(BODY_SECONDS):
                posted = await request.post()
        except (TimeoutError, ValueError, LookupError):
            raise web.HTTPBadRequest from None
        form = {name: value for name, value in posted.items() if isinstance(value, str)}
    return console_request(request, form)


def console_request(request: web.Request, form: dict[str, str]) -> ConsoleRequest:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return ConsoleRequest(
        method=request.method,
        path=request.path,
        now=time.time(),
        target=request.raw_path,
        parameters=dict(request.match_info),
        query=dict(request.query),
        form=form,
        cookies={name: value for name, value in request.cookies.items() if value.isascii()},
        headers=headers,
        peer=peer[0] if peer else "",
    )


def _response(answer: ConsoleAnswer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    for each in answer.cookies:
        response.set_cookie(
            *(each.name, each.value), max_age=each.seconds, httponly=True, secure=each.secure, samesite="Strict"
        )
    return response
