"""S3's conditions and ranges: which bytes a GetObject or HeadObject answers. No I/O.

As S3 does it: one range only, and a Range header that cannot be read is as good as none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.manager.errors import S3Error

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` to `end` (exclusive) of an object of `total` bytes; `whole` where no range was asked."""

    start: int
    end: int
    total: int
    whole: bool

    @property
    def status(self) -> int:
        return 200 if self.whole else 206

    @property
    def headers(self) -> dict[str, str]:
        told = {"Accept-Ranges": "bytes", "Content-Length": str(self.end - self.start)}
        if not self.whole:
            told["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{self.total}"
        return told


def choose(headers: Mapping[str, str], etag: str, total: int) -> Part:
    """The part that the caller's Range asks for, after its If-Match and If-None-Match.

    `headers` finds names in lower case; `etag` is quoted. Raises S3Error: 412, 304, 416.
    """
    _check_conditions(headers, etag)
    asked = RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or asked.group(0) == "bytes=-":
        return Part(0, total, total, whole=True)
    first, last = asked.groups()
    if first and last and int(last) < int(first):
        return Part(0, total, total, whole=True)
    start = int(first) if first else max(total - int(last), 0)
    end = min(int(last) + 1, total) if first and last else total
    if start >= total or start >= end:
        raise _unsatisfiable(asked.group(0), total)
    return Part(start, end, total, whole=False)


def _check_conditions(headers: Mapping[str, str], etag: str) -> None:
    wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
    if wanted is not None and not _names(wanted, etag):
        raise S3Error(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            412,
            {"Condition": "If-Match"},
        )
    if unwanted is not None and _names(unwanted, etag):
        raise S3Error("NotModified", "Not Modified", 304, headers={"ETag": etag})


def _names(condition: str, etag: str) -> bool:
    """SDKs pass on what their caller gave, with or without the quotes."""
    tags = [tag.strip().strip('"') for tag in condition.split(",")]
    return "*" in tags or etag.strip('"') in tags


def _unsatisfiable(asked: str, total: int) -> S3Error:
    return S3Error(
        "InvalidRange",
        "The requested range is not satisfiable",
        416,
        {"RangeRequested": asked, "ActualObjectSize": str(total)},
        {"Content-Range": f"bytes */{total}"},
    )
