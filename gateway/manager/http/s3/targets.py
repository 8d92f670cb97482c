"""Which operation of S3 a request is: by its method, its path, and the subresource in its query. No I/O.

What S3 has and this service has not is answered as S3 does for what is not implemented, and never as another operation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from gateway.manager.errors import S3Error, no_such_key

SUBRESOURCES = frozenset(
    (
        *("abac", "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "encryption"),
        *("intelligent-tiering", "inventory", "legal-hold", "lifecycle", "logging", "metadataAnnotationTable"),
        *("metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics"),
        *("notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock"),
        *("renameObject", "replication", "requestPayment", "restore", "retention", "select", "session", "tagging"),
        *("torrent", "versioning", "versions", "website"),
        *("uploads", "uploadId", "delete", "location"),
    )
)
"""Names in a query that choose another operation."""
ACTIONS = {
    "ListBuckets": "s3:ListAllMyBuckets",
    "CreateBucket": "s3:CreateBucket",
    "DeleteBucket": "s3:DeleteBucket",
    "HeadBucket": "s3:ListBucket",
    "GetBucketLocation": "s3:GetBucketLocation",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListParts": "s3:ListMultipartUploadParts",
}
"""S3Operation -> the name of S3's permission for it. To copy also needs `s3:GetObject`."""
STREAMED = frozenset(("PutObject", "UploadPart"))
"""Operations whose body is the content of an object."""
_POSTS = frozenset(("uploads", "uploadId", "delete"))
_BUCKET = {
    ("GET", ""): "ListObjects",
    ("HEAD", ""): "HeadBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "delete"): "DeleteObjects",
}
_OBJECT = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListParts",
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE"))


@dataclass(frozen=True, slots=True)
class S3Target:
    """`bucket`, `key`: empty where the operation has none. `query`: the last value of each name."""

    operation: str
    bucket: str
    key: str
    query: Mapping[str, str]

    @property
    def action(self) -> str:
        return ACTIONS[self.operation]

    @property
    def resource(self) -> str:
        """As in a policy: `arn:aws:s3:::BUCKET/KEY`, `arn:aws:s3:::BUCKET`, or `*` of all buckets."""
        if not self.bucket:
            return "*"
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket}"


def is_s3_post(target: str) -> bool:
    """Whether a POST is one of S3's: those of the other APIs have no query."""
    query = target.partition("?")[2]
    return bool(query) and any(pair.partition("=")[0] in _POSTS for pair in query.split("&"))


def parse_target(method: str, target: str, headers: Mapping[str, str]) -> S3Target:
    """`target`: the raw path with its query. Raises S3Error: 404, 405, 501."""
    path, _, raw_query = target.partition("?")
    bucket, _, key = path.removeprefix("/").partition("/")
    try:
        bucket, key = unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError as error:
        raise no_such_key(key) from error
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    if method not in _METHODS:
        raise _not_allowed(method)
    if not bucket:
        if method not in ("GET", "HEAD"):
            raise _not_allowed(method)
        return S3Target("ListBuckets", "", "", query)
    chosen = [name for name in query if name in SUBRESOURCES]
    if "versionId" in query:
        _check_version(method, query["versionId"])
    operations = _OBJECT if key else _BUCKET
    operation = operations.get((method, chosen[0] if chosen else "")) if len(chosen) < 2 else None
    if operation is None and not chosen:
        raise _not_allowed(method)
    if operation is None or (operation == "UploadPart" and "partNumber" not in query):
        raise not_implemented(f"?{chosen[0]}")
    if operation == "ListObjects" and "list-type" in query:
        if query["list-type"] != "2":
            raise S3Error("InvalidArgument", "Invalid List Type specified in Request", 400)
        operation = "ListObjectsV2"
    if "x-amz-copy-source" in headers:
        operation = _COPIES.get(operation, operation)
    return S3Target(operation, bucket, key, query)


def not_implemented(what: str) -> S3Error:
    detail = "A header or query you provided implies functionality that is not implemented"
    return S3Error("NotImplemented", f"{detail}: {what[:100]}", 501)


def _not_allowed(method: str) -> S3Error:
    detail = "The specified method is not allowed against this resource."
    return S3Error("MethodNotAllowed", detail, 405, {"Method": method})


def _check_version(method: str, version: str) -> None:
    """Objects have no versions: as in a bucket without versioning there is one, `null`."""
    if not version:
        raise S3Error("InvalidArgument", "Version id cannot be the empty string", 400, {"ArgumentName": "versionId"})
    if version != "null":
        detail = "The specified version does not exist."
        raise S3Error("NoSuchVersion", detail, 404, {"VersionId": version[:1024]})
