"""The manager's one port: POST is the Edge API, GET and HEAD of /{bucket}/{key} the model store, /healthz the health.

It reads requests, checks signatures and sends every response. It must never decide anything about devices or files.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog
from aiohttp import web

from gateway.errors import explain
from gateway.lock import FolderInUse, FolderLock
from gateway.manager.errors import ApiError, ManagerError, S3Error
from gateway.manager.http import responses
from gateway.manager.http.ranges import ByteRange, select_range
from gateway.manager.http.signatures import AccessKey, SignatureError, SignedRequest, verify
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import RolloutRunner
from gateway.manager.store import Database, ObjectStore, OpenObject, open_database

INTERVAL = 1.0
"""Seconds between two checks for steps of rollouts that are due."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of one server. Raises ManagerError where a value cannot work.

    Port 0 takes a free one. `access_key` None: no signature is checked. `registered_ttl`, `unregistered_ttl`: CacheTTL
    of the two answers, in seconds. `max_body`: bytes of a request at most. `power_safe`: as in `open_database`.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    access_key: AccessKey | None = None
    registered_ttl: int = 300
    unregistered_ttl: int = 60
    max_body: int = 4 * 1024 * 1024
    power_safe: bool = False
    database: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ManagerError(f"--port {self.port} is not a port: 0 (a free one) to 65535")
        for name in ("registered_ttl", "unregistered_ttl"):
            if getattr(self, name) < 0:
                option = f"--{name.replace('_', '-')}"
                raise ManagerError(f"{option} is {getattr(self, name)}: seconds, 0 or more")


def make_app(config: ServerConfig, database: Database) -> web.Application:
    """The service over an open database, which the caller closes."""
    handler = RequestHandler(config, database)
    app = web.Application(client_max_size=config.max_body)
    app.router.add_route("*", "/{path:.*}", handler.handle)
    return app


@contextlib.asynccontextmanager
async def start_server(config: ServerConfig) -> AsyncIterator[str]:
    """The service on the running loop; it listens before the block is entered. Yields its URL without a last slash.

    Raises ManagerError: the database cannot be opened, another process serves it, or the address is in use.
    """
    with _locked(config.data), contextlib.closing(_open(config)) as database:
        runner = web.AppRunner(make_app(config, database), access_log=None, shutdown_timeout=5)
        await runner.setup()
        rollouts = asyncio.create_task(_rollout_loop(RolloutRunner(database)))
        try:
            try:
                await web.TCPSite(runner, config.host, config.port).start()
            except OSError as error:
                raise ManagerError(explain(error, f"{config.host}:{config.port}")) from error
            port = runner.addresses[0][1]
            host = f"[{config.host}]" if ":" in config.host else config.host
            yield f"http://{host}:{port}"
        finally:
            rollouts.cancel()
            await runner.cleanup()


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(data)
    except FolderInUse as holder:
        raise ManagerError(f"an Edge Manager serves {data} ({holder}): stop it, or give another --data") from None
    except OSError as error:
        raise ManagerError(explain(error, data)) from error
    with contextlib.closing(lock):
        yield


def _open(config: ServerConfig) -> Database:
    return open_database(config.data, create=True, power_safe=config.power_safe)


async def _rollout_loop(runner: RolloutRunner) -> None:
    """Takes the steps that follow from no result: those that are due by time, and the rest of a large stage."""
    while True:
        try:
            more = runner.advance_all(time.time())
        except sqlite3.Error as error:
            more = False
            event = "the database cannot be used: rollouts wait; check the disk and the data folder"
            LOG.error(event, detail=str(error))
        await asyncio.sleep(0 if more else INTERVAL)  # calls of devices come between two steps


class RequestHandler:
    """Handles every request. The method says which API is called, and so in which form an error is sent."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self.config = config
        self.api = EdgeApi(database, config.registered_ttl, config.unregistered_ttl)
        self.objects = ObjectStore(config.data)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        request_id = str(uuid4())
        if request.method == "POST":
            return await self._call(request, request_id)
        if request.raw_path == "/healthz":
            return self._health(request_id)
        return await self._read_object(request, request_id)

    def _health(self, request_id: str) -> web.Response:
        try:
            self.api.database.ping()
        except sqlite3.Error as error:
            event = "the database cannot be read: every call fails; check the disk and the data folder"
            LOG.error(event, detail=str(error))
            return responses.json_response({"status": "failing"}, 503, request_id)
        return responses.json_response({"status": "ok"}, 200, request_id)

    async def _call(self, request: web.Request, request_id: str) -> web.Response:
        operation = request.raw_path.partition("?")[0].removeprefix("/")[:80]
        try:
            output = self._perform(operation, request, await self._body(request))
            return responses.json_response(output, 200, request_id)
        except ApiError as error:
            LOG.warning("call rejected", operation=operation, code=error.code, detail=error.message, id=request_id)
            headers = {"x-amzn-ErrorType": error.code}
            return responses.json_response(error.body(), error.status, request_id, headers)

    async def _body(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            detail = f"the request is larger than {self.config.max_body} bytes"
            raise ApiError("RequestEntityTooLargeException", detail, 413) from error

    def _perform(self, operation: str, request: web.Request, body: bytes) -> dict[str, object] | None:
        """Not in a thread: SQLite takes some 100 us, less than the change of threads."""
        try:
            self._check_signature(request, body, "sagemaker")
            return self.api.handle(operation, body, time.time())
        except SignatureError as error:
            raise responses.signature_api_error(error) from error
        except ApiError:
            raise
        except Exception as error:
            LOG.exception("call failed: nothing of it is stored, the caller may repeat it", operation=operation)
            raise ApiError("InternalServiceException", "the manager failed; its log says why") from error

    async def _read_object(self, request: web.Request, request_id: str) -> web.StreamResponse:
        try:
            opened, part = await self._open_object(request)
        except S3Error as error:
            return responses.s3_error_response(error, request.method, request_id)
        with contextlib.closing(opened):
            return await responses.send_object(request, opened, part, request_id)

    async def _open_object(self, request: web.Request) -> tuple[OpenObject, ByteRange]:
        """A GET has no body that means anything; one that is signed over a body is rejected."""
        if request.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
        try:
            self._check_signature(request, b"", "s3")
        except SignatureError as error:
            raise responses.signature_s3_error(error) from error
        opened = await asyncio.to_thread(self.objects.open, *responses.parse_object_path(request.raw_path))
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            return opened, select_range(headers, opened.etag, opened.size)
        except S3Error:
            opened.close()
            raise

    def _check_signature(self, request: web.Request, body: bytes, service: str) -> None:
        if self.config.access_key is not None:
            signed = SignedRequest(request.method, request.raw_path, list(request.headers.items()), body)
            verify(signed, service, self.config.access_key, datetime.now(UTC))
