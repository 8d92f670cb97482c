"""What the head of a request says of its body, and whether the body that came is that one. No I/O."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.manager.errors import S3Error
from gateway.manager.http.s3 import checksums
from gateway.manager.http.s3.chunked import ChunkedDecoder
from gateway.manager.http.signatures import UNSIGNED, Authorization

_SHA256 = re.compile("[0-9a-f]{64}")
_CHUNKED = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
}
"""Value of x-amz-content-sha256 -> whether chunks are signed, and trailers follow."""
_SETTINGS = frozenset(f"{checksums.PREFIX}{name}" for name in ("algorithm", "mode", "type"))


@dataclass(frozen=True, slots=True)
class BodyPlan:
    """`size`: of the content in bytes. `algorithm`: of its checksum, empty: none was announced. `checksum`: in base64,
    None: it comes as a trailer, or not at all. `chunked`: whether chunks are signed and trailers follow; None: the body
    is the content."""

    size: int
    sha256: str | None
    md5: str | None
    algorithm: str
    checksum: str | None
    chunked: tuple[bool, bool] | None
    is_declared: bool


def plan_body(headers: Mapping[str, str], limit: int) -> BodyPlan:
    """`limit`: bytes of the content at most. Raises S3Error where the head contradicts itself or is beyond it."""
    sent = headers.get("x-amz-content-sha256", UNSIGNED)
    chunked = _CHUNKED.get(sent)
    if sent.startswith("STREAMING-") and chunked is None:
        raise S3Error("NotImplemented", f"Bodies that are signed as {sent[:60]} are not implemented", 501)
    if "aws-chunked" in headers.get("content-encoding", "") and chunked is None:
        chunked = (False, True)
    if chunked is None and sent != UNSIGNED and not _SHA256.fullmatch(sent):
        detail = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING value, or a valid sha256 value."
        raise _invalid(detail)
    size = headers.get("content-length" if chunked is None else "x-amz-decoded-content-length", "")
    if not re.fullmatch("[0-9]{1,18}", size):
        raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
    if int(size) > limit:
        detail = "Your proposed upload exceeds the maximum allowed size"
        raise S3Error("EntityTooLarge", detail, 400, {"ProposedSize": size, "MaxSizeAllowed": str(limit)})
    md5 = headers.get("content-md5")
    if md5 is not None and not _is_base64(md5, 16):
        raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.", 400, {"Content-MD5": md5[:100]})
    algorithm, checksum, announced = _announced_checksum(headers)
    return BodyPlan(int(size), sent if _SHA256.fullmatch(sent) else None, md5, algorithm, checksum, chunked, announced)


def _announced_checksum(headers: Mapping[str, str]) -> tuple[str, str | None, bool]:
    """Its algorithm, its value where it is in a header, and whether there must be one."""
    given = [name for name in headers if name.startswith(checksums.PREFIX) and name not in _SETTINGS]
    if len(given) > 1:
        raise _invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    trailer = headers.get("x-amz-trailer", "").strip().lower()
    name = given[0] if given else trailer if trailer.startswith(checksums.PREFIX) else ""
    if not name:
        algorithm = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
        return algorithm if algorithm in checksums.ALGORITHMS else "", None, False
    algorithm = name.removeprefix(checksums.PREFIX)
    if algorithm not in checksums.ALGORITHMS:
        raise _invalid(f"The checksum {algorithm[:40]} is not one of {', '.join(checksums.ALGORITHMS)}.")
    value = headers[given[0]] if given else None
    if value is not None:
        _check_value(algorithm, value)
    return algorithm, value, True


def _check_value(algorithm: str, value: str) -> None:
    if not _is_base64(value, len(checksums.ALGORITHMS[algorithm]().digest())):
        raise _invalid(f"Value for {checksums.PREFIX}{algorithm} header is invalid.")


class BodyCheck:
    """Takes a body in pieces, gives the content of it, and says at its end whether it is right.

    `signed`: of the head, None where no signature is asked for.
    """

    def __init__(self, plan: BodyPlan, signed: Authorization | None) -> None:
        self.algorithm = plan.algorithm
        self._plan = plan
        self._decoder: ChunkedDecoder | None = None
        if plan.chunked is not None:
            # Without keys nobody can say whether the signatures of chunks are right: they are not looked at.
            self._decoder = ChunkedDecoder(plan.chunked[0], signed, plan.chunked[1])
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = None if plan.sha256 is None else hashlib.sha256()
        self._checksum = checksums.ALGORITHMS[plan.algorithm]() if plan.algorithm else None
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The content in these bytes. Raises S3Error where the body is wrong already."""
        pieces = [data] if self._decoder is None else self._decoder.feed(data)
        for piece in pieces:
            self._size += len(piece)
            if self._size > self._plan.size:
                raise _incomplete()
            self._md5.update(piece)
            for digest in (self._sha256, self._checksum):
                if digest is not None:
                    digest.update(piece)
        return pieces

    def finish(self) -> tuple[str, str]:
        """The quoted MD5 of the content, and its checksum or an empty text. Raises S3Error."""
        plan, trailers = self._plan, {}
        if self._decoder is not None:
            self._decoder.finish()
            trailers = self._decoder.trailers
        if self._size != plan.size:
            raise _incomplete()
        if self._sha256 is not None and self._sha256.hexdigest() != plan.sha256:
            detail = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise S3Error("XAmzContentSHA256Mismatch", detail, 400)
        if plan.md5 is not None and base64.b64decode(plan.md5) != self._md5.digest():
            detail = "The Content-MD5 you specified did not match what we received."
            raise S3Error("BadDigest", detail, 400, {"ExpectedDigest": plan.md5})
        computed = "" if self._checksum is None else checksums.encoded(self._checksum)
        if plan.is_declared:
            given = plan.checksum
            if given is None:
                given = trailers.get(checksums.PREFIX + plan.algorithm, "")
                _check_value(plan.algorithm, given)
            check_checksum(plan.algorithm, given, computed)
        return f'"{self._md5.hexdigest()}"', computed


def check_checksum(algorithm: str, given: str, computed: str) -> None:
    """Raises S3Error where they differ."""
    if given != computed:
        detail = f"The {algorithm.upper()} you specified did not match the calculated checksum."
        raise S3Error("BadDigest", detail, 400)


def _is_base64(text: str, size: int) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == size
    except (binascii.Error, ValueError):
        return False


def _incomplete() -> S3Error:
    detail = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return S3Error("IncompleteBody", detail, 400)


def _invalid(detail: str) -> S3Error:
    return S3Error("InvalidRequest", detail, 400)
