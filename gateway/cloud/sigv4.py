"""AWS Signature Version 4 for POSTs to one service. Caches the key of a day and the headers of a second.

Pure but for the cache. The rules are in AWS's "Create a signed AWS API request"; a contract test compares it with
botocore's signer.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, NamedTuple

ALGORITHM = "AWS4-HMAC-SHA256"

_EMPTY = hashlib.sha256()


class AwsCredentials(NamedTuple):
    """`token`: of temporary credentials; None otherwise."""

    access_key: str
    secret_key: str
    token: str | None = None


class Signer:
    """Signs POSTs of JSON to one host."""

    def __init__(self, region: str, service: str, host: str) -> None:
        self._region = region
        self._service = service
        self._host = host
        self._second = -1
        self._credentials: AwsCredentials | None = None
        self._key = b""
        self._day = self._scope = self._canonical_headers = self._prefix = ""
        # Of this second: hashes of what is signed of each call, and copied for it. OpenSSL looks the algorithm up for
        # each new one, which takes as long as the rest.
        self._requests: dict[str, Any] = {}
        self._signature = hmac.new(b"", digestmod="sha256")

    def headers(self, credentials: AwsCredentials, path: str, body: bytes, now: float) -> str:
        """The headers that authenticate `body`, each line ended by CRLF; `now` in Unix seconds."""
        if int(now) != self._second or credentials is not self._credentials:
            self._update(credentials, int(now))
        begun = self._requests.get(path)
        if begun is None:
            begun = self._requests[path] = hashlib.sha256(f"POST\n{path}\n\n{self._canonical_headers}".encode())
        content, request, signature = _EMPTY.copy(), begun.copy(), self._signature.copy()
        content.update(body)
        request.update(content.hexdigest().encode())
        signature.update(request.hexdigest().encode())
        return f"{self._prefix}{signature.hexdigest()}\r\n"

    def _update(self, credentials: AwsCredentials, second: int) -> None:
        """Compute what the calls of one second with the same credentials have in common."""
        date = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        if date[:8] != self._day or credentials is not self._credentials:
            self._day = date[:8]
            self._key = _signing_key(credentials.secret_key, self._day, self._region, self._service)
            self._scope = f"{self._day}/{self._region}/{self._service}/aws4_request"
        self._second, self._credentials = second, credentials
        self._requests.clear()
        self._signature = hmac.new(self._key, f"{ALGORITHM}\n{date}\n{self._scope}\n".encode(), "sha256")
        token = credentials.token
        signed = {"content-type": "application/json", "host": self._host, "x-amz-date": date}
        signed |= {"x-amz-security-token": token} if token else {}
        names = ";".join(signed)
        self._canonical_headers = "".join(f"{name}:{value}\n" for name, value in signed.items()) + f"\n{names}\n"
        self._prefix = (
            f"X-Amz-Date: {date}\r\n"
            + (f"X-Amz-Security-Token: {token}\r\n" if token else "")
            + f"Authorization: {ALGORITHM} Credential={credentials.access_key}/{self._scope}, "
            + f"SignedHeaders={names}, Signature="
        )


def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
