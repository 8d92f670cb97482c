"""How the manager's answers are dressed for HTTP: rest-json, S3's XML, and the bytes of a file.

Every answer carries `x-amzn-RequestId`. Nothing here decides what is answered.
"""

import asyncio
import json
from email.utils import formatdate
from urllib.parse import unquote

from aiohttp import web

from gateway.manager.errors import ApiError, S3Error, no_such_key
from gateway.manager.objects.object_store import CHUNK, OpenObject
from gateway.manager.objects.ranges import Part


def json_answer(body: object, status: int, request_id: str, headers: dict[str, str] | None = None) -> web.Response:
    """`body` as JSON; None: an operation without output, whose answer is empty."""
    return web.Response(
        body=b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        headers={"x-amzn-RequestId": request_id, **(headers or {})},
        content_type="application/json",
    )


def api_refusal(error: ApiError, request_id: str) -> web.Response:
    """The Edge API's refusal."""
    return json_answer(error.body(), error.status, request_id, {"x-amzn-ErrorType": error.code})


def s3_refusal(error: S3Error, method: str, request_id: str) -> web.Response:
    """The S3 API's refusal; HEAD and 304 have no body, so their callers see the status alone."""
    headers = {"x-amzn-RequestId": request_id, "x-amz-request-id": request_id, **error.headers}
    if method == "HEAD" or error.status == 304:
        return web.Response(status=error.status, headers=headers)
    return web.Response(
        text=error.body(request_id), status=error.status, headers=headers, content_type="application/xml"
    )


def object_of(target: str) -> tuple[str, str]:
    """The bucket and key in the raw target of a request.

    Raises S3Error: 501 where it names a bucket or nothing, since nothing is listed here; 404 where it is no UTF-8.
    """
    bucket, _, key = target.partition("?")[0].removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error("NotImplemented", "Only GetObject and HeadObject are implemented: GET /{bucket}/{key}", 501)
    try:
        return unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError as error:
        raise no_such_key(key) from error


async def send_object(request: web.Request, found: OpenObject, part: Part, request_id: str) -> web.StreamResponse:
    """Sends the part, a chunk at a time; for HEAD the headers alone."""
    answer = web.StreamResponse(status=part.status, headers=_object_headers(found, part, request_id))
    await answer.prepare(request)
    place = part.end if request.method == "HEAD" else part.start
    while place < part.end:
        chunk = await asyncio.to_thread(found.read, place, min(place + CHUNK, part.end))
        if not chunk:
            raise OSError("a model file shrank while it was read: put files in place by renaming")
        await answer.write(chunk)
        place += len(chunk)
    await answer.write_eof()
    return answer


def _object_headers(found: OpenObject, part: Part, request_id: str) -> dict[str, str]:
    return {
        "x-amzn-RequestId": request_id,
        "x-amz-request-id": request_id,
        "Content-Type": "binary/octet-stream",
        "ETag": found.etag,
        "Last-Modified": formatdate(found.modified, usegmt=True),
        **part.headers,
    }
