"""Checks AWS Signature Version 4 of a request. No I/O, no clock. The secret must never leave this file.

The rules are in AWS's "Create a signed AWS API request"; a property test compares the signatures with botocore's
signers. The signing name of the Edge API is `sagemaker`, that of the model store `s3` (whose path is not encoded a
second time). Any region is accepted. Presigned URLs are not: the plans carry none. X-Amz-Security-Token is a header as
any other: no key here has a session, so one that an SDK found elsewhere changes nothing.

check_head(head, "sagemaker", find_key, now)  -> Authorization   all that needs no body
check_body(authorization, body)                 the hash of the body, and the signature
check_declared(authorization)                   the signature alone: who receives the body holds it against its hash
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from urllib.parse import quote

from gateway.errors import GatewayError
from gateway.manager.control.access import AccessKey

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = 15 * 60
"""Seconds by which a caller's clock may differ, as in AWS."""
AUTHORIZATION = re.compile(
    ALGORITHM + r" +Credential=([^/, ]+)/([0-9]{8})/([^/, ]+)/([^/, ]+)/aws4_request *, *"
    r"SignedHeaders=([a-z0-9;_.-]+) *, *Signature=([0-9a-f]{64})"
)
TIMESTAMP = re.compile("[0-9]{8}T[0-9]{6}Z")
UNSIGNED = "UNSIGNED-PAYLOAD"
REQUIRED = frozenset({"host", "x-amz-date"})
"""Headers without which a signature means nothing: they must be signed."""
KEYS = 256
"""So many signing keys are kept: one is used by the callers of one access key, day, region and service."""


class SignatureFault(Enum):
    """What is wrong with a signature; each API has its own name for it."""

    MISSING = "no Authorization header"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown access key"
    SKEWED = "clock"
    MISMATCH = "mismatch"
    WRONG_BODY = "wrong body"


class SignatureError(GatewayError):
    """The fault of the caller or of its operator: credentials or clock. `times`: of the request and here, if SKEWED."""

    def __init__(self, fault: SignatureFault, detail: str, times: tuple[datetime, datetime] | None = None) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.times = times


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request as it was received. `target`: the raw path with its query, still percent-encoded."""

    method: str
    target: str
    headers: Iterable[tuple[str, str]]


@dataclass(slots=True)
class Authorization:
    """What `check_head` found, for `check_body`.

    `canonical`: the canonical request up to the hash of the body. `prefix`: the string to sign up to the hash of the
    canonical request. `sent_hash`: of the body, None: not sent. `unsigned`: the signature is without the body.
    """

    access_key: AccessKey
    signature: str
    canonical: str
    prefix: str
    sent_hash: str | None
    unsigned: bool
    key: bytes = field(repr=False)


def check_head(
    head: RequestHead, service: str, find_key: Callable[[str], AccessKey | None], now: datetime
) -> Authorization:
    """What needs no body: a request is signed with a key that `find_key` has, for `service`, at about `now` (aware).

    `service`: `sagemaker` or `s3`. The signature itself is not checked yet. Raises SignatureError.
    """
    headers = _join_headers(head.headers)
    _check_text(head.method, head.target, *headers.values())
    key_id, date, region, signed_for, names, signature = _parse_authorization(headers.get("authorization"))
    if signed_for != service:
        raise _malformed(f"Credential should be scoped to service '{service}'")
    access_key = find_key(key_id)
    if access_key is None:
        raise SignatureError(SignatureFault.UNKNOWN_KEY, "The security token included in the request is invalid.")
    timestamp = headers.get("x-amz-date", "")
    _check_clock(timestamp, date, now)
    signed = set(names.split(";"))
    if not REQUIRED <= signed <= headers.keys():
        missing = REQUIRED - signed | signed - headers.keys()
        raise _malformed(f"headers that are not sent or not signed: {', '.join(sorted(missing))[:200]}")
    sent_hash = headers.get("x-amz-content-sha256")
    if sent_hash is None and service == "s3":
        raise _malformed("Missing required header for this request: x-amz-content-sha256")
    return Authorization(
        access_key,
        signature,
        _canonical_head(head, service, headers, sorted(signed)),
        f"{ALGORITHM}\n{timestamp}\n{date}/{region}/{service}/aws4_request\n",
        None if sent_hash == UNSIGNED else sent_hash,
        sent_hash == UNSIGNED and "x-amz-content-sha256" in signed,
        _signing_key(access_key.secret, date, region, service),
    )


def check_body(authorization: Authorization, body: bytes) -> None:
    """The rest: the body is the one that was signed, and the signature is right. Raises SignatureError."""
    computed = UNSIGNED if authorization.unsigned else hashlib.sha256(body).hexdigest()
    if authorization.sent_hash not in (None, computed):
        detail = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise SignatureError(SignatureFault.WRONG_BODY, detail)
    _check_signature(authorization, computed)


def check_declared(authorization: Authorization) -> None:
    """The signature is right where the body has the hash that the caller declared (`sent_hash`). Raises
    SignatureError."""
    _check_signature(authorization, UNSIGNED if authorization.unsigned else authorization.sent_hash or "")


def sign_chunk(authorization: Authorization, previous: str, digest: str) -> str:
    """The signature of a chunk of a body, after the one with the signature `previous`. `digest`: its SHA-256."""
    empty = hashlib.sha256(b"").hexdigest()
    return _sign(authorization, authorization.prefix.replace("\n", "-PAYLOAD\n", 1) + f"{previous}\n{empty}\n{digest}")


def sign_trailer(authorization: Authorization, previous: str, digest: str) -> str:
    """As `sign_chunk`, of the trailers after all chunks."""
    return _sign(authorization, authorization.prefix.replace("\n", "-TRAILER\n", 1) + f"{previous}\n{digest}")


def _sign(authorization: Authorization, text: str) -> str:
    return hmac.digest(authorization.key, text.encode(), "sha256").hex()


def _check_signature(authorization: Authorization, body_hash: str) -> None:
    canonical = authorization.canonical + body_hash
    expected = _sign(authorization, authorization.prefix + hashlib.sha256(canonical.encode()).hexdigest())
    if not hmac.compare_digest(expected, authorization.signature):
        detail = "The request signature we calculated does not match the signature you provided."
        raise SignatureError(SignatureFault.MISMATCH, detail)


def _malformed(detail: str) -> SignatureError:
    return SignatureError(SignatureFault.MALFORMED, detail)


def _join_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By name in lower case, as they are signed.

    Runs of white space are one space, and values of one name are joined; so a repeated Authorization, X-Amz-Date or
    X-Amz-Content-SHA256 is never one that is accepted.
    """
    joined: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in headers:
        name, value = name.lower(), " ".join(value.split())
        if name in joined:
            repeated.setdefault(name, [joined[name]]).append(value)
        else:
            joined[name] = value
    for name, values in repeated.items():
        joined[name] = ",".join(values)
    return joined


def _check_text(*texts: str) -> None:
    """Bytes that are not UTF-8 arrive here as lone surrogates, which cannot be hashed."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise _malformed("the request's path and headers must be UTF-8") from error


def _parse_authorization(header: str | None) -> tuple[str, ...]:
    """The access key's id, date, region, service, names of the signed headers, signature."""
    if header is None:
        raise SignatureError(SignatureFault.MISSING, "Missing Authentication Token")
    match = AUTHORIZATION.fullmatch(header)
    if match is None:
        if header.startswith("AWS4-ECDSA-"):
            raise _malformed(f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.")
        raise _malformed("Authorization header is not of the form of AWS4-HMAC-SHA256")
    return match.groups()


def _check_clock(timestamp: str, date: str, now: datetime) -> None:
    try:
        if not TIMESTAMP.fullmatch(timestamp):
            raise ValueError(timestamp)
        signed_at = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise _malformed("X-Amz-Date is missing or not of the form 20260131T235959Z") from error
    if abs((now - signed_at).total_seconds()) > MAX_SKEW:
        skew, ours = timedelta(seconds=MAX_SKEW), now.astimezone(UTC)
        if now > signed_at:
            text, limit, sign = f"expired: {timestamp} is now earlier than", ours - skew, "-"
        else:
            text, limit, sign = f"not yet current: {timestamp} is still later than", ours + skew, "+"
        detail = f"Signature {text} {_timestamp(limit)} ({_timestamp(ours)} {sign} {MAX_SKEW // 60} min.)"
        raise SignatureError(SignatureFault.SKEWED, detail, (signed_at, ours))
    if not timestamp.startswith(date):
        raise _malformed(f"Date in Credential scope is {date}, X-Amz-Date is {timestamp}")


def _timestamp(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ")


def _canonical_head(head: RequestHead, service: str, headers: Mapping[str, str], names: Sequence[str]) -> str:
    path, _, query = head.target.partition("?")
    if service != "s3":
        path = quote(_normalize_path(path), safe="/~")
    if query:
        pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&")))
        query = "&".join(f"{name}={value}" for name, value in pairs)
    lines = "".join([f"{name}:{headers[name]}\n" for name in names])
    return f"{head.method.upper()}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n"


def _normalize_path(path: str) -> str:
    """Without dot segments (RFC 3986, section 5.2.4) and without empty ones."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


@lru_cache(KEYS)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
