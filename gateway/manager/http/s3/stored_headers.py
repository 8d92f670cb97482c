"""The headers with which an object is put: those that are kept and returned, and those that mean what is not here.

No I/O.
"""

import re
from collections.abc import Mapping

from gateway.manager.errors import S3Error
from gateway.manager.http.s3.targets import not_implemented

MOST_METADATA = 2048
"""Bytes of names and values of `x-amz-meta-…`, as in S3."""
_META = "x-amz-meta-"
_KEPT = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_MEAN_MORE = (
    *("x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption", "x-amz-object-lock-"),
    *(
        "x-amz-bucket-object-lock",
        "x-amz-website-",
        "x-amz-grant-",
        "x-amz-write-offset",
        "x-amz-expected-bucket-owner",
    ),
    *("x-amz-source-expected-bucket-owner", "x-amz-mfa", "x-amz-bypass-governance"),
)
_ACLS = ("", "private", "bucket-owner-full-control")
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises S3Error where a header asks for what this service does not do."""
    for name in headers:
        if name.startswith(_MEAN_MORE):
            raise not_implemented(name)
    if headers.get("x-amz-tagging"):
        raise not_implemented("x-amz-tagging")
    if headers.get("x-amz-acl", "") not in _ACLS:
        raise S3Error("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)
    if headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise S3Error("InvalidStorageClass", "The storage class you specified is not valid", 400)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that a reader of the object gets again. Raises S3Error."""
    kept = {name: text(value) for name, value in headers.items() if name in _KEPT or name.startswith(_META)}
    encodings = [each.strip() for each in kept.pop("content-encoding", "").split(",")]
    encoding = ", ".join(each for each in encodings if each not in ("", "aws-chunked"))
    if encoding:
        kept["content-encoding"] = encoding
    size = sum(len(name) - len(_META) + len(value.encode()) for name, value in kept.items() if name.startswith(_META))
    if size > MOST_METADATA:
        detail = "Your metadata headers exceed the maximum allowed metadata size"
        raise S3Error("MetadataTooLarge", detail, 400, {"Size": str(size), "MaxSizeAllowed": str(MOST_METADATA)})
    return kept


def replaced_headers(query: Mapping[str, str]) -> dict[str, str]:
    """What `response-content-type` and its kind in a query ask for. Raises S3Error."""
    replaced = {}
    for name in _KEPT:
        value = query.get(f"response-{name}")
        if value:
            if _UNFIT.search(value):
                raise S3Error("InvalidArgument", f"response-{name} has characters that no header has", 400)
            replaced[name] = text(value)
    return replaced


def text(value: str) -> str:
    """Bytes that were no UTF-8 become signs of that."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
