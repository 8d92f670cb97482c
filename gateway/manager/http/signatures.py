"""Signature Version 4, checked on what arrived. No I/O, no clock.

The signature is computed anew by botocore's own signers over the request as it was received, and compared. For the Edge
API the signing name is `sagemaker`, for the model store `s3` (whose path is not encoded a second time). Any region is
taken: there is one machine. Presigned URLs are not taken: the plans carry none. The secret never leaves this file.
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

SKEW = 15 * 60
"""Seconds by which a caller's clock may differ, as AWS has it."""
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request *, *"
    r"SignedHeaders=([a-z0-9;_.-]+) *, *Signature=([0-9a-f]{64})"
)
STAMP = "%Y%m%dT%H%M%SZ"
UNSIGNED = "UNSIGNED-PAYLOAD"


class Fault(Enum):
    """What is wrong with a signature, before either API gives it a name."""

    MISSING = "no Authorization header"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown access key"
    SKEWED = "clock"
    MISMATCH = "mismatch"
    WRONG_BODY = "wrong body"


class SignatureError(GatewayError):
    """The caller's fault or its operator's: credentials or clock."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came: `target` is the raw path with its query, still percent-encoded."""

    method: str
    target: str
    headers: Iterable[tuple[str, str]]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The one pair of keys that the manager knows."""

    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Claim:
    access: str
    date: str
    region: str
    service: str
    signed: frozenset[str]
    signature: str


class _ExactHeaders:
    """Signs the headers that it is given, where botocore leaves some out: another SDK may have signed those."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


class _ApiSigner(_ExactHeaders, SigV4Auth):
    pass


class _StoreSigner(_ExactHeaders, S3SigV4Auth):
    pass


def verify(request: Received, service: str, keys: Keys, now: datetime) -> None:
    """Returns where the request was signed with `keys` for `service` (`sagemaker` or `s3`) at about `now` (aware).

    Raises SignatureError.
    """
    headers = {name.lower(): value for name, value in request.headers}
    _check_text(request.target, *headers.values())
    claim = _read_claim(headers.get("authorization"))
    if claim.service != service:
        raise SignatureError(Fault.MALFORMED, f"Credential should be scoped to service '{service}'")
    if not hmac.compare_digest(claim.access.encode(), keys.access.encode()):
        raise SignatureError(Fault.UNKNOWN_KEY, "The security token included in the request is invalid.")
    stamp = _check_clock(headers.get("x-amz-date", ""), claim.date, now)
    missing = {"host", "x-amz-date"} - claim.signed | claim.signed - headers.keys()
    if missing:
        raise SignatureError(Fault.MALFORMED, f"headers that are not sent or not signed: {', '.join(sorted(missing))}")
    _check_body(request.body, headers.get("x-amz-content-sha256"), service)
    try:
        ours = _signature(request, claim, keys, stamp)
    except ValueError as error:
        raise SignatureError(Fault.MALFORMED, f"the request cannot be signed as it came: {error}") from error
    if not hmac.compare_digest(ours, claim.signature):
        raise SignatureError(
            Fault.MISMATCH, "The request signature we calculated does not match the signature you provided."
        )


def _check_text(*texts: str) -> None:
    """Bytes that are no UTF-8 reach us as lone surrogates; nothing can be computed over those."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise SignatureError(Fault.MALFORMED, "the request's path and headers must be UTF-8") from error


def _read_claim(header: str | None) -> _Claim:
    if header is None:
        raise SignatureError(Fault.MISSING, "Missing Authentication Token")
    match = AUTHORIZATION.fullmatch(header)
    if match is None:
        raise SignatureError(Fault.MALFORMED, "Authorization header is not of the form of AWS4-HMAC-SHA256")
    access, date, region, service, signed, signature = match.groups()
    return _Claim(access, date, region, service, frozenset(signed.split(";")), signature)


def _check_clock(stamp: str, date: str, now: datetime) -> str:
    try:
        signed_at = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureError(Fault.MALFORMED, "X-Amz-Date is missing or not of the form 20260131T235959Z") from error
    if abs((now - signed_at).total_seconds()) > SKEW:
        ours = now.astimezone(UTC).strftime(STAMP)
        raise SignatureError(Fault.SKEWED, f"Signature expired: it was made at {stamp}, here it is {ours}")
    if not stamp.startswith(date):
        raise SignatureError(Fault.MALFORMED, f"Date in Credential scope is {date}, X-Amz-Date is {stamp}")
    return stamp


def _check_body(body: bytes, told: str | None, service: str) -> None:
    """S3 wants the header on every call; elsewhere it counts only where it is sent."""
    if told is None and service == "s3":
        raise SignatureError(Fault.MALFORMED, "Missing required header for this request: x-amz-content-sha256")
    if told is not None and told != UNSIGNED and told != hashlib.sha256(body).hexdigest():
        raise SignatureError(
            Fault.WRONG_BODY, "The provided 'x-amz-content-sha256' header does not match what was computed."
        )


def _signature(request: Received, claim: _Claim, keys: Keys, stamp: str) -> str:
    """The URL begins with http, since botocore then always signs the payload; the host comes from the header."""
    rebuilt = AWSRequest(method=request.method, url=f"http://manager{request.target}", data=request.body)
    for name, value in request.headers:
        if name.lower() in claim.signed:
            rebuilt.headers.add_header(name.lower(), value)
    rebuilt.context["timestamp"] = stamp
    signer_type = _StoreSigner if claim.service == "s3" else _ApiSigner
    signer = signer_type(Credentials(keys.access, keys.secret), claim.service, claim.region)
    canonical = signer.canonical_request(rebuilt)
    return signer.signature(signer.string_to_sign(rebuilt, canonical), rebuilt)
