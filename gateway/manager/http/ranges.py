"""S3's conditions and ranges: which bytes a GetObject or HeadObject returns. No I/O.

As in S3: one range only, and a Range header that is not understood is ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.manager.errors import S3Error

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` to `end` (exclusive) of an object of `total` bytes; `whole`: no range was requested."""

    start: int
    end: int
    total: int
    whole: bool

    @property
    def status(self) -> int:
        return 200 if self.whole else 206

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(self.end - self.start)}
        if not self.whole:
            headers["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{self.total}"
        return headers


def select_range(headers: Mapping[str, str], etag: str, total: int) -> ByteRange:
    """The bytes that the Range header requests, after the checks of If-Match and If-None-Match.

    `headers`: names in lower case; `etag` is quoted. Raises S3Error: 412, 304, 416.
    """
    _check_conditions(headers, etag)
    whole = ByteRange(0, total, total, whole=True)
    requested = RANGE.fullmatch(headers.get("range", "").strip())
    if requested is None or requested.group(0) == "bytes=-":
        return whole
    first, last = requested.groups()
    if first and last and int(last) < int(first):
        return whole
    start = int(first) if first else max(total - int(last), 0)
    end = min(int(last) + 1, total) if first and last else total
    if start >= total or start >= end:
        raise S3Error(
            "InvalidRange",
            "The requested range is not satisfiable",
            416,
            {"RangeRequested": requested.group(0), "ActualObjectSize": str(total)},
            {"Content-Range": f"bytes */{total}"},
        )
    return ByteRange(start, end, total, whole=False)


def _check_conditions(headers: Mapping[str, str], etag: str) -> None:
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and not _matches(match, etag):
        message = "At least one of the pre-conditions you specified did not hold"
        raise S3Error("PreconditionFailed", message, 412, {"Condition": "If-Match"})
    if none_match is not None and _matches(none_match, etag):
        raise S3Error("NotModified", "Not Modified", 304, headers={"ETag": etag})


def _matches(condition: str, etag: str) -> bool:
    """SDKs send the tag as their caller gave it, with or without quotes."""
    tags = [tag.strip().strip('"') for tag in condition.split(",")]
    return "*" in tags or etag.strip('"') in tags
