"""What an operation of S3 is given, and what it answers with. No I/O."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.manager.errors import S3Error, no_such_key
from gateway.manager.http.ranges import precondition_failed
from gateway.manager.http.s3.incoming import ReceivedBody
from gateway.manager.http.s3.targets import S3Target, not_implemented
from gateway.manager.store import Auditor, ObjectEntry

MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class S3Call:
    """`headers`: names in lower case. `auditor`: of a change that it makes. `document`: the body, where it is XML;
    `received`: where it is a content."""

    target: S3Target
    headers: Mapping[str, str]
    auditor: Auditor
    document: bytes = b""
    received: ReceivedBody | None = None

    @property
    def bucket(self) -> str:
        return self.target.bucket

    @property
    def key(self) -> str:
        return self.target.key

    @property
    def content(self) -> ReceivedBody:
        assert self.received is not None
        return self.received

    def text(self, name: str) -> str:
        """That of the query; empty where there is none."""
        return self.target.query.get(name, "")

    def number(self, name: str, otherwise: int, least: int, most: int) -> int:
        """A whole number of the query, at most `most`. Raises S3Error."""
        given = self.target.query.get(name)
        if given is None:
            return otherwise
        if not re.fullmatch("[0-9]{1,10}", given) or int(given) < least:
            raise S3Error("InvalidArgument", f"{name} is no number that fits", 400, {"ArgumentName": name})
        return min(int(given), most)


@dataclass(frozen=True, slots=True)
class S3Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


S3Operation = Callable[[S3Call], S3Answer]
"""Called in a thread. Raises S3Error, StoreUnavailable, ManagerError, OSError."""


def write_check(call: S3Call) -> Callable[[ObjectEntry | None], None]:
    """Holds the object that is there against If-Match and If-None-Match of the one that replaces it."""
    match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
    if none_match not in (None, "*"):
        raise not_implemented("If-None-Match with an ETag")

    def check(before: ObjectEntry | None) -> None:
        if none_match is not None and before is not None:
            raise precondition_failed("If-None-Match")
        if match is not None:
            if before is None:
                raise no_such_key(call.key)
            if match != "*" and match.strip('"') != before.etag.strip('"'):
                raise precondition_failed("If-Match")

    return check
