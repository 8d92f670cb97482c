"""Checks AWS Signature Version 4 of a request. No I/O, no clock. The secret must never leave this file.

botocore's own signers compute the signature of the request as it was received, and the two are compared. The signing
name of the Edge API is `sagemaker`, that of the model store `s3` (whose path is not encoded a second time). Any region
is accepted. Presigned URLs are not: the plans carry none.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from gateway.errors import GatewayError

MAX_SKEW = 15 * 60
"""Seconds by which a caller's clock may differ, as in AWS."""
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request *, *"
    r"SignedHeaders=([a-z0-9;_.-]+) *, *Signature=([0-9a-f]{64})"
)
TIMESTAMP = "%Y%m%dT%H%M%SZ"
UNSIGNED = "UNSIGNED-PAYLOAD"


class SignatureFault(Enum):
    """What is wrong with a signature; each API has its own name for it."""

    MISSING = "no Authorization header"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown access key"
    SKEWED = "clock"
    MISMATCH = "mismatch"
    WRONG_BODY = "wrong body"


class SignatureError(GatewayError):
    """The fault of the caller or of its operator: credentials or clock."""

    def __init__(self, fault: SignatureFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it was received. `target`: the raw path with its query, still percent-encoded."""

    method: str
    target: str
    headers: Iterable[tuple[str, str]]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """AWS's pair of an access key id and a secret access key. The manager has one."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Authorization:
    key_id: str
    date: str
    region: str
    service: str
    signed_headers: frozenset[str]
    signature: str


class _ExactHeaders:
    """Signs all headers that it is given. botocore leaves some out, which another SDK may have signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


class _ApiSigner(_ExactHeaders, SigV4Auth):
    pass


class _S3Signer(_ExactHeaders, S3SigV4Auth):
    pass


def verify(request: SignedRequest, service: str, access_key: AccessKey, now: datetime) -> None:
    """Returns where the request is signed with `access_key` for `service` (`sagemaker` or `s3`) at about `now` (aware).

    Raises SignatureError.
    """
    headers = {name.lower(): value for name, value in request.headers}
    _check_text(request.target, *headers.values())
    authorization = _parse_authorization(headers.get("authorization"))
    if authorization.service != service:
        raise _malformed(f"Credential should be scoped to service '{service}'")
    if not hmac.compare_digest(authorization.key_id.encode(), access_key.id.encode()):
        raise SignatureError(SignatureFault.UNKNOWN_KEY, "The security token included in the request is invalid.")
    timestamp = headers.get("x-amz-date", "")
    _check_clock(timestamp, authorization.date, now)
    signed = authorization.signed_headers
    missing = {"host", "x-amz-date"} - signed | signed - headers.keys()
    if missing:
        raise _malformed(f"headers that are not sent or not signed: {', '.join(sorted(missing))}")
    _check_body(request.body, headers.get("x-amz-content-sha256"), service)
    try:
        expected = _signature(request, authorization, access_key, timestamp)
    except ValueError as error:
        raise _malformed(f"the request cannot be signed as it came: {error}") from error
    if not hmac.compare_digest(expected, authorization.signature):
        detail = "The request signature we calculated does not match the signature you provided."
        raise SignatureError(SignatureFault.MISMATCH, detail)


def _malformed(detail: str) -> SignatureError:
    return SignatureError(SignatureFault.MALFORMED, detail)


def _check_text(*texts: str) -> None:
    """Bytes that are not UTF-8 arrive here as lone surrogates, which cannot be hashed."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise _malformed("the request's path and headers must be UTF-8") from error


def _parse_authorization(header: str | None) -> _Authorization:
    if header is None:
        raise SignatureError(SignatureFault.MISSING, "Missing Authentication Token")
    match = AUTHORIZATION.fullmatch(header)
    if match is None:
        raise _malformed("Authorization header is not of the form of AWS4-HMAC-SHA256")
    key_id, date, region, service, signed_headers, signature = match.groups()
    return _Authorization(key_id, date, region, service, frozenset(signed_headers.split(";")), signature)


def _check_clock(timestamp: str, date: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(timestamp, TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise _malformed("X-Amz-Date is missing or not of the form 20260131T235959Z") from error
    if abs((now - signed_at).total_seconds()) > MAX_SKEW:
        ours = now.astimezone(UTC).strftime(TIMESTAMP)
        raise SignatureError(SignatureFault.SKEWED, f"Signature expired: it was made at {timestamp}, here it is {ours}")
    if not timestamp.startswith(date):
        raise _malformed(f"Date in Credential scope is {date}, X-Amz-Date is {timestamp}")


def _check_body(body: bytes, sha256: str | None, service: str) -> None:
    """S3 requires the header on every call; elsewhere it is checked where it is sent."""
    if sha256 is None and service == "s3":
        raise _malformed("Missing required header for this request: x-amz-content-sha256")
    if sha256 is not None and sha256 != UNSIGNED and sha256 != hashlib.sha256(body).hexdigest():
        detail = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise SignatureError(SignatureFault.WRONG_BODY, detail)


def _signature(request: SignedRequest, authorization: _Authorization, access_key: AccessKey, timestamp: str) -> str:
    """The URL begins with http, since botocore then always signs the payload; the host comes from the header."""
    rebuilt = AWSRequest(method=request.method, url=f"http://manager{request.target}", data=request.body)
    for name, value in request.headers:
        if name.lower() in authorization.signed_headers:
            rebuilt.headers.add_header(name.lower(), value)
    rebuilt.context["timestamp"] = timestamp
    signer_type = _S3Signer if authorization.service == "s3" else _ApiSigner
    credentials = Credentials(access_key.id, access_key.secret)
    signer = signer_type(credentials, authorization.service, authorization.region)
    canonical = signer.canonical_request(rebuilt)
    return signer.signature(signer.string_to_sign(rebuilt, canonical), rebuilt)
