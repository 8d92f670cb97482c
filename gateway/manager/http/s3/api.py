"""S3 on the manager's port: what a request means, whether it is allowed, and who carries it out.

A body that becomes an object is received only after the signature of the head and the permission were checked.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from gateway.manager.control.access import allows, denial
from gateway.manager.errors import S3Error
from gateway.manager.http import responses
from gateway.manager.http.model_files import ModelFiles
from gateway.manager.http.ranges import select_range
from gateway.manager.http.requests import Request
from gateway.manager.http.responses import Response
from gateway.manager.http.s3.body_checks import BodyCheck, plan_body
from gateway.manager.http.s3.buckets import BucketOperations
from gateway.manager.http.s3.calls import S3Answer, S3Call
from gateway.manager.http.s3.contents import ContentOperations, parse_source
from gateway.manager.http.s3.incoming import IncomingBody
from gateway.manager.http.s3.stored_headers import check_headers, replaced_headers
from gateway.manager.http.s3.targets import STREAMED, S3Target, parse_target
from gateway.manager.http.signatures import Authorization, check_body, check_declared
from gateway.manager.store import Auditor, ObjectStore

AT_ONCE = 4
"""Operations that are carried out at once, and pieces of bodies that are written."""
MOST_INCOMING = 64
"""Bodies that are received at once: each holds a megabyte at most."""


class S3Api:
    """The operations on `objects`. `limit`: bytes of an object at most. `region`: where buckets are said to be."""

    def __init__(self, objects: ObjectStore, limit: int, region: str) -> None:
        self._objects = objects
        self._files = ModelFiles(objects)
        self._limit = limit
        self._contents = ContentOperations(objects, limit)
        self._operations = BucketOperations(objects, region).operations() | self._contents.operations()
        self._threads = ThreadPoolExecutor(AT_ONCE, "S3")
        self._incoming: set[IncomingBody] = set()

    async def close(self) -> None:
        """Requests for files that are being fetched fail; bodies that are received leave nothing."""
        await self._files.close()
        for body in list(self._incoming):
            body.abandon()
        await asyncio.to_thread(self._threads.shutdown)

    def begin(self, request: Request, headers: Mapping[str, str], check_signature: Callable[[], None]) -> None:
        """Called with the head. Raises S3Error and SignatureError where it needs no body."""
        target = parse_target(request.method, request.target, headers)
        check_signature()
        request.call = target
        if target.operation not in STREAMED:
            return
        if request.authorization is not None:
            check_declared(request.authorization)
        self._require_allowed(target, headers, request.authorization)
        check_headers(headers)
        plan = plan_body(headers, self._limit)
        if len(self._incoming) >= MOST_INCOMING:
            raise S3Error("SlowDown", "Please reduce your request rate.", 503, headers={"Retry-After": "1"})
        body = IncomingBody(
            self._objects, BodyCheck(plan, request.authorization), self._threads, self._incoming.discard
        )
        self._incoming.add(body)
        request.receiver = body

    async def answer(self, request: Request, headers: Mapping[str, str], request_id: str) -> Response:
        """Raises S3Error, SignatureError, StoreUnavailable, ManagerError, OSError."""
        target, body = request.call, request.receiver
        assert isinstance(target, S3Target)
        if isinstance(body, IncomingBody):
            body.receive(request.body)
            try:
                call = S3Call(target, headers, _auditor(request, target), received=await body.finish())
                answer = await self._run(self._operations[target.operation], call)
            finally:
                body.abandon()
            return responses.s3_response(answer.status, answer.headers, answer.body, request_id)
        if request.authorization is not None:
            check_body(request.authorization, request.body)
        self._require_allowed(target, headers, request.authorization)
        call = S3Call(target, headers, _auditor(request, target), request.body)
        if target.operation in ("GetObject", "HeadObject"):
            return await self._read(call, request_id)
        if target.operation in ("CopyObject", "UploadPartCopy"):
            answer = await self._copy(call)
        else:
            answer = await self._run(self._operations[target.operation], call)
        return responses.s3_response(answer.status, answer.headers, answer.body, request_id)

    async def _read(self, call: S3Call, request_id: str) -> Response:
        check_headers(call.headers)
        replaced = replaced_headers(call.target.query)
        opened = await self._files.open(call.bucket, call.key)
        try:
            part = call.target.query.get("partNumber")
            selected = select_range(call.headers, opened.etag, opened.size, opened.modified, part, opened.facts.parts)
            return responses.object_response(opened, selected, replaced, request_id)
        except BaseException:
            opened.close()
            raise

    async def _copy(self, call: S3Call) -> S3Answer:
        source = await self._files.open(*parse_source(call))
        try:
            is_part = call.target.operation == "UploadPartCopy"
            return await self._run(
                lambda call: (self._contents.copy_part if is_part else self._contents.copy)(call, source), call
            )
        finally:
            source.close()

    async def _run(self, operation: Callable[[S3Call], S3Answer], call: S3Call) -> S3Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, operation, call)

    def _require_allowed(self, target: S3Target, headers: Mapping[str, str], signed: Authorization | None) -> None:
        """Raises S3Error where the role of the key does not allow it. `signed` None: no signature is asked for."""
        if signed is None:
            return
        wanted = [(target.action, target.resource)]
        if "x-amz-copy-source" in headers:
            source = unquote(headers["x-amz-copy-source"].partition("?")[0]).removeprefix("/")
            wanted.append(("s3:GetObject", f"arn:aws:s3:::{source}"))
        for action, resource in wanted:
            if not allows(signed.access_key.role, action):
                raise S3Error("AccessDenied", f"{denial(signed.access_key.id, action)} on resource: {resource}", 403)


def _auditor(request: Request, target: S3Target) -> Auditor:
    key = "" if request.authorization is None else request.authorization.access_key.id
    return Auditor(key, request.address, f"s3:{target.operation}", time.time())
