"""Operations on buckets: make, remove, find, list what they have."""

import base64
import binascii
from dataclasses import replace
from urllib.parse import quote

from gateway.manager.errors import S3Error
from gateway.manager.http.s3.calls import MOST_LISTED, S3Answer, S3Call, S3Operation
from gateway.manager.http.s3.documents import (
    Markup,
    children,
    document,
    element,
    malformed,
    optional,
    parse_document,
    timestamp,
)
from gateway.manager.http.s3.listing import Page, list_page
from gateway.manager.http.s3.stored_headers import check_headers
from gateway.manager.store import ObjectEntry, ObjectStore, is_bucket_name

NAMELESS = "us-east-1"
PAGES = frozenset(("healthz", "readyz", "metrics"))
"""Paths of this port that are none of S3, and so no names of buckets that are made."""


class BucketOperations:
    """`region`: where buckets are said to be."""

    def __init__(self, objects: ObjectStore, region: str) -> None:
        self._objects = objects
        self._region = region

    def operations(self) -> dict[str, S3Operation]:
        return {
            "ListBuckets": self.list_buckets,
            "CreateBucket": self.create,
            "DeleteBucket": self.remove,
            "HeadBucket": self.head,
            "GetBucketLocation": self.locate,
            "ListObjects": self.list_objects,
            "ListObjectsV2": self.list_objects_v2,
            "DeleteObjects": self.delete_objects,
        }

    def list_buckets(self, call: S3Call) -> S3Answer:
        buckets = sorted(self._objects.buckets().items())
        listed = [
            element("Bucket", element("Name", name), element("CreationDate", timestamp(made))) for name, made in buckets
        ]
        return S3Answer(body=document("ListAllMyBucketsResult", element("Buckets", *listed)))

    def create(self, call: S3Call) -> S3Answer:
        check_headers(call.headers)
        if call.document:
            parse_document(call.document, "CreateBucketConfiguration")
        if not is_bucket_name(call.bucket) or call.bucket in PAGES:
            raise S3Error("InvalidBucketName", "The specified bucket is not valid.", 400, {"BucketName": call.bucket})
        if self._objects.has_bucket(call.bucket):
            detail = "The bucket you tried to create already exists, and you own it."
            raise S3Error("BucketAlreadyOwnedByYou", detail, 409, {"BucketName": call.bucket})
        self._objects.make_bucket(call.bucket, call.auditor)
        return S3Answer(headers={"Location": f"/{call.bucket}"})

    def remove(self, call: S3Call) -> S3Answer:
        self._objects.remove_bucket(call.bucket, call.auditor)
        return S3Answer(204)

    def head(self, call: S3Call) -> S3Answer:
        self._objects.require_bucket(call.bucket)
        return S3Answer(headers={"x-amz-bucket-region": self._region})

    def locate(self, call: S3Call) -> S3Answer:
        """us-east-1 has no name there. Requests may be signed for any region."""
        self._objects.require_bucket(call.bucket)
        return S3Answer(body=document("LocationConstraint", "" if self._region == NAMELESS else self._region))

    def list_objects_v2(self, call: S3Call) -> S3Answer:
        token = call.target.query.get("continuation-token")
        page, most = self._page(call, call.text("start-after") if token is None else _parse_token(token))
        more = None if page.last is None else _make_token(page.last)
        count = len(page.objects) + len(page.prefixes)
        return S3Answer(
            body=_listing(
                call,
                page,
                most,
                element("KeyCount", str(count)),
                optional("ContinuationToken", token),
                optional("NextContinuationToken", more),
                optional("StartAfter", _encoded(call, call.target.query.get("start-after"))),
            )
        )

    def list_objects(self, call: S3Call) -> S3Answer:
        page, most = self._page(call, call.text("marker"))
        return S3Answer(
            body=_listing(
                call,
                page,
                most,
                element("Marker", _encoded(call, call.text("marker")) or ""),
                optional("NextMarker", _encoded(call, page.last)),
            )
        )

    def delete_objects(self, call: S3Call) -> S3Answer:
        """Each for itself: what cannot be deleted is in the answer, and the others are deleted."""
        root = parse_document(call.document, "Delete")
        asked = [(each.findtext("Key"), each.findtext("VersionId")) for each in children(root, "Object")]
        if not asked or len(asked) > MOST_LISTED:
            raise malformed()
        self._objects.require_bucket(call.bucket)
        keys, lines = [], []
        for key, version in asked:
            if key is None:
                raise malformed()
            if version not in (None, "", "null"):
                lines.append(_error(key, "NoSuchVersion", "The specified version does not exist."))
            else:
                keys.append(key)
        refused = self._objects.delete_others(call.bucket, keys, call.auditor)
        lines += [_error(key, refused[key].code, refused[key].message) for key in keys if key in refused]
        if root.findtext("Quiet") != "true":
            lines += [element("Deleted", element("Key", key)) for key in keys if key not in refused]
        return S3Answer(body=document("DeleteResult", *lines))

    def _page(self, call: S3Call, after: str) -> tuple[Page, int]:
        self._objects.require_bucket(call.bucket)
        if call.text("encoding-type") not in ("", "url"):
            raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request", 400)
        most = call.number("max-keys", MOST_LISTED, 0, MOST_LISTED)
        prefix = call.text("prefix")
        page = list_page(self._objects.entries(call.bucket, prefix), prefix, call.text("delimiter"), after, most)
        # Only now: an ETag that has to be computed takes the reading of the file.
        objects = [each if each.etag else self._objects.find(call.bucket, each.key) for each in page.objects]
        return replace(page, objects=[each for each in objects if each is not None]), most


def _listing(call: S3Call, page: Page, most: int, *special: str) -> bytes:
    prefixes = [element("CommonPrefixes", element("Prefix", _encoded(call, prefix) or "")) for prefix in page.prefixes]
    return document(
        "ListBucketResult",
        element("Name", call.bucket),
        element("Prefix", _encoded(call, call.text("prefix")) or ""),
        optional("Delimiter", _encoded(call, call.target.query.get("delimiter"))),
        element("MaxKeys", str(most)),
        optional("EncodingType", call.target.query.get("encoding-type")),
        element("IsTruncated", "false" if page.last is None else "true"),
        *special,
        *(_listed(call, each) for each in page.objects),
        *prefixes,
    )


def _listed(call: S3Call, entry: ObjectEntry) -> Markup:
    return element(
        "Contents",
        element("Key", _encoded(call, entry.key) or ""),
        element("LastModified", timestamp(entry.modified)),
        element("ETag", entry.etag),
        element("Size", str(entry.size)),
        element("StorageClass", "STANDARD"),
    )


def _encoded(call: S3Call, text: str | None) -> str | None:
    return quote(text, safe="/") if text is not None and call.text("encoding-type") == "url" else text


def _error(key: str, code: str, detail: str) -> Markup:
    return element("Error", element("Key", key), element("Code", code), element("Message", detail))


def _make_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _parse_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (ValueError, binascii.Error) as error:
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect", 400) from error
