"""The manager's responses: rest-json, S3's XML, and the bytes of a file. It must never decide what is answered.

Every response carries `x-amzn-RequestId`.
"""

import asyncio
import json
from email.utils import formatdate
from urllib.parse import unquote

from aiohttp import web

from gateway.manager.errors import ApiError, S3Error, no_such_key
from gateway.manager.http.ranges import ByteRange
from gateway.manager.http.signatures import SignatureError, SignatureFault
from gateway.manager.store import CHUNK, OpenObject

API_FAULTS = {
    SignatureFault.MISSING: ("MissingAuthenticationTokenException", 403),
    SignatureFault.MALFORMED: ("IncompleteSignatureException", 400),
    SignatureFault.UNKNOWN_KEY: ("UnrecognizedClientException", 403),
    SignatureFault.SKEWED: ("InvalidSignatureException", 403),
    SignatureFault.MISMATCH: ("InvalidSignatureException", 403),
    SignatureFault.WRONG_BODY: ("InvalidSignatureException", 403),
}
S3_FAULTS = {
    SignatureFault.MISSING: ("AccessDenied", 403),
    SignatureFault.MALFORMED: ("AuthorizationHeaderMalformed", 400),
    SignatureFault.UNKNOWN_KEY: ("InvalidAccessKeyId", 403),
    SignatureFault.SKEWED: ("RequestTimeTooSkewed", 403),
    SignatureFault.MISMATCH: ("SignatureDoesNotMatch", 403),
    SignatureFault.WRONG_BODY: ("XAmzContentSHA256Mismatch", 400),
}


def signature_api_error(error: SignatureError) -> ApiError:
    """A bad signature, as the Edge API names it."""
    code, status = API_FAULTS[error.fault]
    return ApiError(code, error.detail, status)


def signature_s3_error(error: SignatureError) -> S3Error:
    """A bad signature, as the S3 API names it."""
    code, status = S3_FAULTS[error.fault]
    return S3Error(code, error.detail, status)


def json_response(body: object, status: int, request_id: str, headers: dict[str, str] | None = None) -> web.Response:
    """`body` as JSON; None: an operation without output, whose body is empty."""
    return web.Response(
        body=b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        headers={"x-amzn-RequestId": request_id, **(headers or {})},
        content_type="application/json",
    )


def api_error_response(error: ApiError, request_id: str) -> web.Response:
    return json_response(error.body(), error.status, request_id, {"x-amzn-ErrorType": error.code})


def s3_error_response(error: S3Error, method: str, request_id: str) -> web.Response:
    """An error of the S3 API. HEAD and 304 have no body, so their callers see the status alone."""
    headers = {"x-amzn-RequestId": request_id, "x-amz-request-id": request_id, **error.headers}
    if method == "HEAD" or error.status == 304:
        return web.Response(status=error.status, headers=headers)
    return web.Response(
        text=error.body(request_id), status=error.status, headers=headers, content_type="application/xml"
    )


def parse_object_path(target: str) -> tuple[str, str]:
    """The bucket and key in the raw target of a request.

    Raises S3Error: 501 where the key is missing, since nothing is listed here; 404 where it is not UTF-8.
    """
    bucket, _, key = target.partition("?")[0].removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error("NotImplemented", "Only GetObject and HeadObject are implemented: GET /{bucket}/{key}", 501)
    try:
        return unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError as error:
        raise no_such_key(key) from error


async def send_object(request: web.Request, opened: OpenObject, part: ByteRange, request_id: str) -> web.StreamResponse:
    """Sends those bytes in chunks; for HEAD the headers alone. Raises OSError where the file shrank."""
    headers = {
        "x-amzn-RequestId": request_id,
        "x-amz-request-id": request_id,
        "Content-Type": "binary/octet-stream",
        "ETag": opened.etag,
        "Last-Modified": formatdate(opened.modified, usegmt=True),
        **part.headers,
    }
    response = web.StreamResponse(status=part.status, headers=headers)
    await response.prepare(request)
    position = part.end if request.method == "HEAD" else part.start
    while position < part.end:
        chunk = await asyncio.to_thread(opened.read, position, min(position + CHUNK, part.end))
        if not chunk:
            raise OSError("a model file shrank while it was read: replace files by renaming")
        await response.write(chunk)
        position += len(chunk)
    await response.write_eof()
    return response
