"""S3's conditions and ranges: which bytes a GetObject or HeadObject returns. No I/O.

As in S3: one range only, and a Range header that is not understood is ignored. If-Match decides before
If-Unmodified-Since, and If-None-Match before If-Modified-Since: the second of each pair counts where the first is not
there. A date that is none is ignored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from gateway.manager.errors import S3Error

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` to `end` (exclusive) of an object of `total` bytes; `whole`: no range was requested.

    `parts`: how many it was put in, where one of them was requested by its number.
    """

    start: int
    end: int
    total: int
    whole: bool
    parts: int = 0

    @property
    def status(self) -> int:
        return 200 if self.whole else 206

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(self.end - self.start)}
        if not self.whole:
            headers["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{self.total}"
        if self.parts:
            headers["x-amz-mp-parts-count"] = str(self.parts)
        return headers


def select_range(
    headers: Mapping[str, str],
    etag: str,
    total: int,
    modified: float = 0.0,
    part: str | None = None,
    parts: Sequence[int] = (),
) -> ByteRange:
    """The bytes that the Range header requests, or the number of a part, after the checks of the conditions.

    `headers`: names in lower case; `etag` is quoted; `modified` in Unix seconds; `parts`: sizes of those that the
    object was put in, none: in one piece. Raises S3Error: 412, 304, 416, 400.
    """
    check_conditions(headers, etag, modified)
    whole = ByteRange(0, total, total, whole=True)
    requested = RANGE.fullmatch(headers.get("range", "").strip())
    if part is not None:
        if "range" in headers:
            detail = "Cannot specify both Range header and partNumber query parameter"
            raise S3Error("InvalidRequest", detail, 400)
        return _select_part(part, list(parts) or [total], len(parts))
    if requested is None or requested.group(0) == "bytes=-" or not _is_range_meant(headers, etag, modified):
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


def _select_part(number: str, sizes: Sequence[int], count: int) -> ByteRange:
    if not re.fullmatch("[0-9]{1,5}", number) or not 1 <= int(number) <= 10_000:
        detail = "Part number must be an integer between 1 and 10000, inclusive"
        raise S3Error("InvalidArgument", detail, 400, {"ArgumentName": "partNumber", "ArgumentValue": number[:100]})
    index = int(number) - 1
    if index >= len(sizes):
        details = {"PartNumberRequested": number, "ActualPartCount": str(len(sizes))}
        raise S3Error("InvalidPartNumber", "The requested partnumber is not satisfiable", 416, details)
    start = sum(sizes[:index])
    return ByteRange(start, start + sizes[index], sum(sizes), whole=not sum(sizes), parts=count)


def check_conditions(headers: Mapping[str, str], etag: str, modified: float, prefix: str = "") -> None:
    """`prefix`: of the headers' names. Raises S3Error: 412, 304."""
    match, none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    if match is not None:
        if not _matches(match, etag):
            raise precondition_failed("If-Match")
    elif int(modified) > _seconds(headers.get(f"{prefix}if-unmodified-since"), float("inf")):
        raise precondition_failed("If-Unmodified-Since")
    if none_match is not None:
        is_unmodified = _matches(none_match, etag)
    else:
        is_unmodified = int(modified) <= _seconds(headers.get(f"{prefix}if-modified-since"), float("-inf"))
    if is_unmodified:
        date = {"Last-Modified": formatdate(modified, usegmt=True)}
        raise S3Error("NotModified", "Not Modified", 304, headers={"ETag": etag, **date})


def precondition_failed(condition: str) -> S3Error:
    message = "At least one of the pre-conditions you specified did not hold"
    return S3Error("PreconditionFailed", message, 412, {"Condition": condition})


def _is_range_meant(headers: Mapping[str, str], etag: str, modified: float) -> bool:
    """Whether If-Range names the object as it is; else all of it is returned."""
    condition = headers.get("if-range", "").strip()
    if not condition:
        return True
    if condition.startswith(('"', "W/")):
        return condition == etag
    return int(_seconds(condition, -1.0)) == int(modified)


def _seconds(date: str | None, otherwise: float) -> float:
    """Unix seconds, whole ones; `otherwise` where there is no date."""
    try:
        return otherwise if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _matches(condition: str, etag: str) -> bool:
    """SDKs send the tag as their caller gave it, with or without quotes."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in condition.split(",")]
    return "*" in tags or etag.strip('"') in tags
