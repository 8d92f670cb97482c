"""Answers requests: POST is the Edge API, or the control plane where X-Amz-Target names an operation, but for S3's own;
all else is S3, and GET and HEAD of a few paths are pages.

It must never decide anything about devices or files. The API that is called says in which form an error is sent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TypeAlias

import structlog

from gateway.manager.control import Caller
from gateway.manager.control.access import allows, requested_action, require
from gateway.manager.errors import ApiError, S3Error, StoreUnavailable
from gateway.manager.http import responses
from gateway.manager.http.keys import KeyReader
from gateway.manager.http.requests import Request, Respond
from gateway.manager.http.responses import PageContent, RequestIds, Response
from gateway.manager.http.s3 import S3Api, is_s3_post
from gateway.manager.http.signatures import (
    RequestHead,
    SignatureError,
    SignatureFault,
    check_body,
    check_head,
)
from gateway.manager.metrics import ManagerMetrics
from gateway.manager.operations import Output
from gateway.manager.store import ObjectStore

UNAVAILABLE_LOG_INTERVAL = 30.0
MAX_OBJECT = 1024**3
"""Bytes of an object that is put, at most."""
MOST_REJECTED_LOGS = 20
"""Rejected calls of one second that have a line each in the log."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")

Calls: TypeAlias = Callable[[str, bytes, float], "asyncio.Future[Output]"]
"""(operation, body, Unix seconds) -> its output. Raises ApiError; so does the future, and StoreUnavailable."""
ControlCalls: TypeAlias = Callable[[str, bytes, Caller, float], "asyncio.Future[bytes]"]
"""(X-Amz-Target, body, who asks, Unix seconds) -> the output as JSON. Errors as of `Calls`."""
PageTable: TypeAlias = Mapping[str, Callable[[], Awaitable[PageContent]]]
"""By path. Called for each GET or HEAD, and must not raise. No signature is asked for."""


class RequestHandler:
    """`keys`: of which one must have signed a request. `max_body`: bytes of a request's body at most, `max_object`: of
    the content of an object. `region`: where buckets are said to be."""

    def __init__(
        self,
        calls: Calls,
        control: ControlCalls,
        objects: ObjectStore,
        pages: PageTable,
        keys: KeyReader,
        max_body: int,
        metrics: ManagerMetrics,
        max_object: int,
        region: str,
    ) -> None:
        self._calls = calls
        self._control = control
        self.objects = objects
        self._s3 = S3Api(objects, max_object, region)
        self.pages = pages
        self._keys = keys
        self._max_body = max_body
        self._metrics = metrics
        self._new_id = RequestIds()
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_log = self._next_rejected = float("-inf")
        self._rejected = 0

    async def close(self) -> None:
        """Requests for model files that are being fetched fail."""
        await self._s3.close()

    # Called by the connection

    def check_head(self, request: Request) -> "Response | asyncio.Future[Exception | None] | None":
        try:
            if _is_api(request):
                self._check_signature(request, "sagemaker")
                self._check_role(request)
            elif not self._is_page(request):
                self._s3.begin(request, _headers(request), partial(self._check_signature, request, "s3"))
            if request.receiver is None and request.content_length > self._max_body:
                return self.too_large(request)
        except SignatureError as error:
            if error.fault is SignatureFault.UNKNOWN_KEY:
                return self._unknown_key(request, error)
            return self._signature_error(request, error)
        except ApiError as error:
            return self._api_error(_operation(request), error)
        except S3Error as error:
            return responses.s3_error_response(error, self._new_id())
        return None

    def too_large(self, request: Request) -> Response:
        self._metrics.count_refused("body")
        detail = f"the request is larger than {self._max_body} bytes"
        if _is_api(request):
            return self._api_error(_operation(request), ApiError("RequestEntityTooLargeException", detail, 413))
        return responses.s3_error_response(S3Error("EntityTooLarge", detail, 413), self._new_id())

    def handle(self, request: Request, respond: Respond) -> None:
        if _is_api(request):
            self._call(request, respond)
            return
        task = asyncio.get_running_loop().create_task(self._read(request, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The Edge API and the control plane

    def _call(self, request: Request, respond: Respond) -> None:
        """Without a task: the output comes by a future."""
        operation = _operation(request)
        try:
            if request.authorization is not None:
                check_body(request.authorization, request.body)
            target = request.known.get(b"x-amz-target")
            output: asyncio.Future[Any]
            to_response: Callable[[Any, str], Response]
            if target is None:
                output = self._calls(operation, request.body, time.time())
                to_response = responses.api_response
            else:
                name = target.decode("utf-8", "replace")
                output = self._control(name, request.body, self._caller(request), time.time())
                to_response = responses.control_response
        except Exception as error:
            respond(self._api_error(operation, error))
        else:
            output.add_done_callback(partial(self._called, operation, respond, to_response))

    def _caller(self, request: Request) -> Caller:
        if request.authorization is None:
            return Caller(address=request.address)
        key = request.authorization.access_key
        return Caller(key.id, key.role, request.address)

    def _called(
        self,
        operation: str,
        respond: Respond,
        to_response: Callable[[Any, str], Response],
        done: "asyncio.Future[Any]",
    ) -> None:
        try:
            response = to_response(done.result(), self._new_id())
        except (Exception, asyncio.CancelledError) as error:
            response = self._api_error(operation, error)
        respond(response)

    def _api_error(self, operation: str, error: BaseException) -> Response:
        request_id = self._new_id()
        if isinstance(error, SignatureError):
            error = responses.signature_api_error(error)
        elif isinstance(error, StoreUnavailable):
            self._log_unavailable(error)
            detail = "the manager's database cannot be used; try again"
            unavailable = ApiError("ServiceUnavailableException", detail, 503, {"Retry-After": "1"})
            self._metrics.count_error(operation, unavailable)
            return responses.api_error_response(unavailable, request_id)
        elif not isinstance(error, ApiError):
            event = "call failed: nothing of it is stored, the caller may repeat it"
            LOG.error(event, operation=operation, exc_info=error)
            error = ApiError("InternalServiceException", "the manager failed; its log says why")
            self._metrics.count_error(operation, error)
            return responses.api_error_response(error, request_id)
        self._metrics.count_error(operation, error)
        self._log_rejected(operation, error, request_id)
        return responses.api_error_response(error, request_id)

    def _log_rejected(self, operation: str, error: ApiError, request_id: str) -> None:
        """A caller that is rejected with each call must not fill the disk."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_rejected:
            if self._rejected > MOST_REJECTED_LOGS:
                event = "further calls were rejected in one second, and are not in this log"
                LOG.warning(event, calls=self._rejected - MOST_REJECTED_LOGS)
            self._next_rejected, self._rejected = now + 1.0, 0
        self._rejected += 1
        if self._rejected <= MOST_REJECTED_LOGS:
            LOG.warning("call rejected", operation=operation, code=error.code, detail=error.message, id=request_id)

    def _log_unavailable(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_log:
            self._next_log = now + UNAVAILABLE_LOG_INTERVAL
            event = "the database cannot be used: calls get 503 and are to be repeated; check the disk or the server"
            LOG.error(event, detail=str(error))

    # PageTable and S3

    def receiver_failed(self, request: Request) -> Response:
        assert request.receiver is not None
        assert request.receiver.error is not None
        return self._s3_error(request, request.receiver.error)

    async def _read(self, request: Request, respond: Respond) -> None:
        try:
            if self._is_page(request):
                response = responses.page_response(await self.pages[_path(request)](), self._new_id())
            else:
                response = await self._s3.answer(request, _headers(request), self._new_id())
        except Exception as error:
            response = self._s3_error(request, error)
        respond(response)

    def _s3_error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, SignatureError):
            return self._signature_error(request, error)
        if isinstance(error, StoreUnavailable):
            return self._s3_unavailable(error)
        if not isinstance(error, S3Error):
            event = "a page or a model file could not be read or stored: the caller gets status 500; look at the disk"
            LOG.error(event, method=request.method, path=_path(request)[:200], exc_info=error)
            error = S3Error("InternalError", "We encountered an internal error. Please try again.", 500)
        return responses.s3_error_response(error, self._new_id())

    def _s3_unavailable(self, error: StoreUnavailable) -> Response:
        self._log_unavailable(error)
        detail = "the manager's database, which has that file, cannot be used; try again"
        unavailable = S3Error("ServiceUnavailable", detail, 503, headers={"Retry-After": "1"})
        return responses.s3_error_response(unavailable, self._new_id())

    def _is_page(self, request: Request) -> bool:
        return request.method in ("GET", "HEAD") and _path(request) in self.pages

    # Signatures and roles

    def _check_signature(self, request: Request, service: str) -> None:
        if self._keys.ring.checks:
            head = RequestHead(request.method, request.target, list(_as_text(request.headers)))
            request.authorization = check_head(head, service, self._keys.ring.find, datetime.now(UTC))

    def _unknown_key(self, request: Request, error: SignatureError) -> "Response | asyncio.Future[Exception | None]":
        """It may have been made since the keys were read, or nobody can say so now."""
        if request.keys_read is None:
            request.keys_read = self._keys.read_again()
            if request.keys_read is not None:
                return request.keys_read
        elif isinstance(unavailable := request.keys_read.result(), StoreUnavailable):
            if _is_api(request):
                return self._api_error(_operation(request), unavailable)
            return self._s3_unavailable(unavailable)
        return self._signature_error(request, error)

    def _check_role(self, request: Request) -> None:
        """Of a call that there is: all others change nothing. Raises ApiError."""
        if request.authorization is not None:
            key = request.authorization.access_key
            action = _denied_action(key.role, request.known.get(b"x-amz-target"), request.target)
            if action is not None:
                require(key.id, key.role, action)

    def _signature_error(self, request: Request, error: SignatureError) -> Response:
        if _is_api(request):
            return self._api_error(_operation(request), error)
        return responses.s3_error_response(responses.signature_s3_error(error), self._new_id())


def _is_api(request: Request) -> bool:
    """Of the Edge API; else S3, or a page."""
    return request.method == "POST" and not is_s3_post(request.target)


def _headers(request: Request) -> dict[str, str]:
    return dict(_as_text(request.known.items()))


def _path(request: Request) -> str:
    return request.target.partition("?")[0]


def _operation(request: Request) -> str:
    """The operation that is asked for, in logs and metrics."""
    target = request.known.get(b"x-amz-target")
    if target is not None:
        return target.decode("utf-8", "replace").rpartition(".")[2][:80]
    return _path(request).removeprefix("/")[:80]


@lru_cache(maxsize=256)
def _denied_action(role: str, target: bytes | None, path: str) -> str | None:
    """The action of a POST, where that role does not allow it."""
    name = None if target is None else target.decode("utf-8", "replace")
    action = requested_action(name, path.partition("?")[0].removeprefix("/"))
    return None if action is None or allows(role, action) else action


def _as_text(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """Bytes that are not UTF-8 become lone surrogates."""
    for name, value in headers:
        yield name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
