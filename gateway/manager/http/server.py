"""The manager's one port: POST is the Edge API, GET and HEAD of /{bucket}/{key} the model store, /healthz for watchers.

The shell around api.py and objects.py: it reads requests, checks signatures, and dresses every answer, refusals too. It
decides nothing about devices or files.

    async with running(Config(data=Path("data"))) as url:
        boto3.client("sagemaker-edge", endpoint_url=url, ...)
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from aiohttp import web

from gateway.manager.api.operations import Api, make_api
from gateway.manager.config import Config
from gateway.manager.errors import ApiError, S3Error, unsigned_call, unsigned_read
from gateway.manager.http.responses import api_refusal, json_answer, object_of, s3_refusal, send_object
from gateway.manager.http.signatures import Received, SignatureError, verify
from gateway.manager.objects.object_store import Objects, OpenObject
from gateway.manager.objects.ranges import Part, choose
from gateway.manager.rollouts.runner import Rolling
from gateway.manager.store.database import Store, open_store

TICK = 1.0
"""Seconds between two looks at what is due of the rollouts."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


def make_app(config: Config, store: Store) -> web.Application:
    """The service over an open store, which the caller closes."""
    shell = Shell(config, make_api(store, config.registered_ttl, config.unregistered_ttl), Objects(config.objects))
    app = web.Application(client_max_size=config.max_body)
    app.router.add_route("*", "/{anything:.*}", shell.handle)
    return app


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[str]:
    """The service on the running loop, listening before the block is entered; yields its URL, without a last slash.

    Raises ManagerError (no database to be had) and OSError (address in use).
    """
    with contextlib.closing(open_store(config.data, create=True, power_safe=config.power_safe)) as store:
        runner = web.AppRunner(make_app(config, store), access_log=None, shutdown_timeout=5)
        await runner.setup()
        rolling = asyncio.create_task(_carry_on(Rolling(store)))
        try:
            await web.TCPSite(runner, config.host, config.port).start()
            port = runner.addresses[0][1]
            host = f"[{config.host}]" if ":" in config.host else config.host
            yield f"http://{host}:{port}"
        finally:
            rolling.cancel()
            await runner.cleanup()


async def _carry_on(rolling: Rolling) -> None:
    """Takes the steps of rollouts that no result brings: those of time, and what is left of a large stage."""
    while True:
        try:
            more = rolling.advance_all(time.time())
        except sqlite3.Error as error:
            more = False
            LOG.error("rollouts stand still until the database can be used", detail=str(error))
        await asyncio.sleep(0 if more else TICK)  # calls of devices come between two slices


class Shell:
    """One handler for all: which API was asked follows from the method, and with it the dialect of a refusal."""

    def __init__(self, config: Config, api: Api, objects: Objects) -> None:
        self.config = config
        self.api = api
        self.objects = objects

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request_id = str(uuid4())
        if request.method == "POST":
            return await self._call(request, request_id)
        if request.raw_path == "/healthz":
            return self._health(request_id)
        return await self._read(request, request_id)

    def _health(self, request_id: str) -> web.Response:
        try:
            self.api.store.ping()
        except sqlite3.Error as error:
            LOG.error("the database cannot be read: every call fails until it can", detail=str(error))
            return json_answer({"status": "failing"}, 503, request_id)
        return json_answer({"status": "ok"}, 200, request_id)

    async def _call(self, request: web.Request, request_id: str) -> web.Response:
        operation = request.raw_path.partition("?")[0].removeprefix("/")[:80]
        try:
            return json_answer(self._perform(operation, request, await self._body(request)), 200, request_id)
        except ApiError as error:
            LOG.warning("call refused", operation=operation, code=error.code, detail=error.message, id=request_id)
            return api_refusal(error, request_id)

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            told = f"the request is larger than {self.config.max_body} bytes"
            raise ApiError("RequestEntityTooLargeException", told, 413) from error

    def _perform(self, operation: str, request: web.Request, body: bytes) -> dict[str, object] | None:
        """SQLite takes some 100 us, less than a hop to a thread and back would."""
        try:
            self._check_signature(request, body, "sagemaker")
            return self.api.answer(operation, body, time.time())
        except SignatureError as error:
            raise unsigned_call(error) from error
        except ApiError:
            raise
        except Exception as error:
            LOG.exception("call failed: nothing of it is kept, the caller may try again", operation=operation)
            raise ApiError("InternalServiceException", "the manager failed; its log says why") from error

    async def _read(self, request: web.Request, request_id: str) -> web.StreamResponse:
        try:
            found, part = await self._find(request)
        except S3Error as error:
            return s3_refusal(error, request.method, request_id)
        with contextlib.closing(found):
            return await send_object(request, found, part, request_id)

    async def _find(self, request: web.Request) -> tuple[OpenObject, Part]:
        """A GET has no body that means anything; one that is signed over a body is refused."""
        if request.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
        try:
            self._check_signature(request, b"", "s3")
        except SignatureError as error:
            raise unsigned_read(error) from error
        found = await asyncio.to_thread(self.objects.open, *object_of(request.raw_path))
        try:
            names = {name.lower(): value for name, value in request.headers.items()}
            return found, choose(names, found.etag, found.size)
        except S3Error:
            found.close()
            raise

    def _check_signature(self, request: web.Request, body: bytes, service: str) -> None:
        if self.config.keys is not None:
            received = Received(request.method, request.raw_path, list(request.headers.items()), body)
            verify(received, service, self.config.keys, datetime.now(UTC))
