"""The manager's responses: rest-json, S3's XML, and the bytes of a file. It must never decide what is answered.

Every response carries `x-amzn-RequestId`.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from uuid import uuid4

from gateway.manager.errors import ApiError, S3Error
from gateway.manager.http.ranges import ByteRange
from gateway.manager.http.signatures import MAX_SKEW, SignatureError, SignatureFault
from gateway.manager.operations import Output
from gateway.manager.store import CHUNK, OpenObject

JSON = "application/json"
CONTROL_JSON = "application/x-amz-json-1.1"
XML = "application/xml; charset=utf-8"
_encode = json.JSONEncoder(separators=(",", ":")).encode
_OK = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n"
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
    if error.times is None:
        return S3Error(code, error.detail, status)
    signed_at, here = error.times
    details = {
        "RequestTime": f"{signed_at:%Y%m%dT%H%M%SZ}",
        "ServerTime": f"{here:%Y-%m-%dT%H:%M:%SZ}",
        "MaxAllowedSkewMilliseconds": str(MAX_SKEW * 1000),
    }
    return S3Error(code, "The difference between the request time and the current time is too large.", status, details)


@dataclass(frozen=True, slots=True)
class FilePart:
    """Those bytes of an open object. `chunks` raises OSError where the file shrank."""

    opened: OpenObject
    part: ByteRange

    async def chunks(self) -> AsyncIterator[bytes]:
        position = self.part.start
        while position < self.part.end:
            end = min(position + CHUNK, self.part.end)
            chunk = await asyncio.to_thread(self.opened.read, position, end)
            if not chunk:
                raise OSError("a model file shrank while it was read: replace files by renaming")
            yield chunk
            position += len(chunk)


@dataclass(frozen=True, slots=True)
class Response:
    """`head`: the status line and the headers but Connection and Date, each with its line end. `file`: its body."""

    head: bytes
    body: bytes = b""
    file: FilePart | None = None

    def encode(self, persistent: bool, head_only: bool) -> bytes:
        end = b"\r\n" if persistent else b"Connection: close\r\n\r\n"
        return self.head + _date_line(int(time.time())) + end + (b"" if head_only else self.body)

    def close(self) -> None:
        """Called once by the one that sends it."""
        if self.file is not None:
            self.file.opened.close()


@dataclass(frozen=True, slots=True)
class PageContent:
    """A page for operators and their tools."""

    content_type: str
    body: bytes
    status: int = 200


class RequestIds:
    """Each call returns another id, of the form of a UUID: of this process, and counted."""

    def __init__(self) -> None:
        self._prefix = str(uuid4())[:24]
        self._numbers = itertools.count()

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._numbers):012x}"


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}".encode()


def _response(status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> Response:
    return Response(_head(status, {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}), body)


def api_response(output: Output, request_id: str) -> Response:
    """The output of an operation. The version of a device is a header: SendHeartbeat has no body."""
    if isinstance(output, str):
        head = f"{_OK}Content-Length: 0\r\nx-amzn-RequestId: {request_id}\r\nx-edge-manager-version: {output}\r\n"
        return Response(head.encode())
    head = f"{_OK}Content-Length: {len(output)}\r\nx-amzn-RequestId: {request_id}\r\n"
    return Response(head.encode(), output)


def control_response(output: bytes, request_id: str) -> Response:
    """The output of an operation of the control plane."""
    return _response(200, CONTROL_JSON, output, {"x-amzn-RequestId": request_id})


def api_error_response(error: ApiError, request_id: str) -> Response:
    """An error of the Edge API, or of the control plane."""
    body = _encode(error.body()).encode()
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.code, **error.headers}
    return _response(error.status, JSON, body, headers)


def protocol_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error of HTTP itself, before anything is known of the request; in the form of the Edge API."""
    return api_error_response(ApiError(code, message, status, headers), str(uuid4()))


def page_response(page: PageContent, request_id: str) -> Response:
    return _response(page.status, page.content_type, page.body, {"x-amzn-RequestId": request_id})


def s3_error_response(error: S3Error, request_id: str) -> Response:
    """An error of the S3 API. 304 has no body."""
    headers = {"x-amzn-RequestId": request_id, "x-amz-request-id": request_id, **error.headers}
    if error.status == 304:
        return Response(_head(304, headers))
    return _response(error.status, XML, error.body(request_id).encode(), headers)


def s3_response(status: int, headers: Mapping[str, str], body: bytes, request_id: str) -> Response:
    """A response of the S3 API: XML, or without a body."""
    headers = {"x-amzn-RequestId": request_id, "x-amz-request-id": request_id, **headers}
    if not body:
        length = {} if status == 204 else {"Content-Length": "0"}
        return Response(_head(status, headers | length))
    return _response(status, XML, body, headers)


def object_response(opened: OpenObject, part: ByteRange, headers: Mapping[str, str], request_id: str) -> Response:
    """Those bytes of a file, which the response closes. `headers`: instead of those that the object was put with."""
    known = {
        "x-amzn-RequestId": request_id,
        "x-amz-request-id": request_id,
        "content-type": "binary/octet-stream",
        **opened.facts.headers,
        **headers,
        "ETag": opened.etag,
        "Last-Modified": formatdate(opened.modified, usegmt=True),
        **part.headers,
    }
    return Response(_head(part.status, known), file=FilePart(opened, part))
