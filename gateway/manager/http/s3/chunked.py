"""Bodies in the form `aws-chunked`: chunks that have signatures or none, then trailers. No I/O.

Each chunk is its size in hex, `;chunk-signature=…` where chunks are signed, a line end, the bytes and a line end. The
last one is empty, and the trailers and an empty line follow it.
"""

import hashlib
import hmac
import re

from gateway.manager.errors import S3Error
from gateway.manager.http.signatures import Authorization, sign_chunk, sign_trailer

MOST_LINE = 4096
MOST_TRAILERS = 16
_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class ChunkedDecoder:
    """`signed`: chunks have signatures, which are checked where the head has one. `has_trailer`: so do trailers.

    `trailers`: names in lower case. `complete`: all has come; what comes then is an error.
    """

    def __init__(self, signed: bool, authorization: Authorization | None, has_trailer: bool) -> None:
        self.trailers: dict[str, str] = {}
        self.complete = False
        self._signed = signed
        self._authorization = authorization if signed else None
        self._has_trailer = has_trailer
        self._previous = "" if authorization is None else authorization.signature
        self._line = b""
        self._left = 0
        """Bytes of the chunk that have not come, and -1: its line end has not come."""
        self._in_trailers = False
        self._digest = hashlib.sha256()
        self._signature = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The bytes of the object in these bytes of the body. Raises S3Error."""
        found: list[bytes] = []
        position = 0
        while position < len(data):
            if self._left > 0:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                if self._authorization is not None:
                    self._digest.update(piece)
                found.append(piece)
                if self._left == 0:
                    self._left = -1
                continue
            end = data.find(b"\n", position) + 1 or len(data)
            self._line += data[position:end]
            position = end
            if self._line.endswith(b"\r\n"):
                line, self._line = self._line[:-2], b""
                self._take_line(line)
            elif len(self._line) > MOST_LINE:
                raise _malformed()
        return found

    def finish(self) -> None:
        """Raises S3Error where something is missing."""
        if not self.complete:
            raise S3Error("IncompleteBody", "The request body terminated unexpectedly", 400)

    def _take_line(self, line: bytes) -> None:
        if self.complete:
            raise _malformed()
        if self._left < 0:
            if line:
                raise _malformed()
            self._left = 0
            self._check_chunk()
        elif not self._in_trailers:
            size = _SIZE.fullmatch(line)
            if size is None or (size.group(2) is not None) != self._signed:
                raise _malformed()
            self._left, self._signature = int(size.group(1), 16), size.group(2) or b""
            if self._left == 0:
                self._check_chunk()
                self._in_trailers = True
        elif line:
            name, colon, value = line.decode("ascii", "replace").partition(":")
            if not colon or len(self.trailers) >= MOST_TRAILERS:
                raise _malformed()
            self.trailers[name.strip().lower()] = value.strip()
        else:
            self.complete = True
            self._check_trailers()

    def _check_chunk(self) -> None:
        if self._authorization is not None:
            self._previous = sign_chunk(self._authorization, self._previous, self._digest.hexdigest())
            _compare(self._previous, self._signature.decode())
            self._digest = hashlib.sha256()

    def _check_trailers(self) -> None:
        signature = self.trailers.pop(_TRAILER_SIGNATURE, "")
        if self._authorization is not None and self._has_trailer:
            text = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            digest = hashlib.sha256(text.encode()).hexdigest()
            _compare(sign_trailer(self._authorization, self._previous, digest), signature)


def _compare(expected: str, signature: str) -> None:
    if not hmac.compare_digest(expected, signature):
        detail = "The signature of a chunk of the body does not match the one that we calculated."
        raise S3Error("SignatureDoesNotMatch", detail, 403)


def _malformed() -> S3Error:
    return S3Error("InvalidRequest", "The body is not in the form aws-chunked that its headers announce.", 400)
