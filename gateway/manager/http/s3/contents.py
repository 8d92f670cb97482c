"""Operations that write objects, or delete them: in one piece, as a copy, or in parts."""

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote

import structlog

from gateway.manager.errors import S3Error
from gateway.manager.http.ranges import check_conditions
from gateway.manager.http.s3.body_checks import check_checksum
from gateway.manager.http.s3.calls import MOST_LISTED, S3Answer, S3Call, S3Operation, write_check
from gateway.manager.http.s3.checksums import ALGORITHMS, FULL_OBJECT, PREFIX, encoded
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
from gateway.manager.http.s3.stored_headers import check_headers, kept_headers
from gateway.manager.http.s3.targets import not_implemented
from gateway.manager.store import (
    CHUNK,
    ObjectEntry,
    ObjectFacts,
    ObjectStore,
    OpenObject,
    Part,
    Upload,
    Uploads,
    etag_of_parts,
)

MOST_PARTS = 10_000

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class ContentOperations:
    """`limit`: bytes of an object at most."""

    def __init__(self, objects: ObjectStore, limit: int) -> None:
        self._objects = objects
        self._uploads = Uploads(objects)
        self._limit = limit

    def operations(self) -> dict[str, S3Operation]:
        return {
            "PutObject": self.put,
            "DeleteObject": self.delete,
            "CreateMultipartUpload": self.begin,
            "UploadPart": self.put_part,
            "CompleteMultipartUpload": self.complete,
            "AbortMultipartUpload": self.abort,
            "ListParts": self.list_parts,
            "ListMultipartUploads": self.list_uploads,
        }

    def put(self, call: S3Call) -> S3Answer:
        check, content = write_check(call), call.content
        facts = ObjectFacts(content.etag, kept_headers(call.headers))
        stored = self._objects.put(content.path, call.bucket, call.key, facts, check, call.auditor)
        _log_stored(call, stored)
        return S3Answer(headers={"ETag": stored.etag, **_checksum_header(content.algorithm, content.checksum)})

    def delete(self, call: S3Call) -> S3Answer:
        check = write_check(call) if "if-match" in call.headers else lambda _: None
        self._objects.delete(call.bucket, call.key, check, call.auditor)
        return S3Answer(204)

    # Copies

    def copy(self, call: S3Call, source: OpenObject) -> S3Answer:
        """An object as a copy of another one, which the caller closes."""
        check_headers(call.headers)
        _check_source(call, source)
        directive = call.headers.get("x-amz-metadata-directive", "COPY")
        if directive not in ("COPY", "REPLACE"):
            raise S3Error("InvalidArgument", "Unknown metadata directive.", 400)
        if directive == "COPY" and parse_source(call) == (call.bucket, call.key):
            detail = "This copy request is illegal because it copies an object to itself without changing its metadata."
            raise S3Error("InvalidRequest", detail, 400)
        headers = kept_headers(call.headers) if directive == "REPLACE" else source.facts.headers
        self._check_size(source.size)
        with self._objects.incoming() as path:
            etag = _copy(source, 0, source.size, path)
            facts, check = ObjectFacts(etag, headers), write_check(call)
            stored = self._objects.put(path, call.bucket, call.key, facts, check, call.auditor)
        _log_stored(call, stored)
        return S3Answer(body=_copied("CopyObjectResult", stored.etag, stored.modified))

    def copy_part(self, call: S3Call, source: OpenObject) -> S3Answer:
        upload, number = self._find(call), self._part_number(call)
        _check_source(call, source)
        asked = call.headers.get("x-amz-copy-source-range")
        start, end = 0, source.size
        if asked is not None:
            found = re.fullmatch(r"bytes=(\d{1,18})-(\d{1,18})", asked)
            if found is None or not int(found[1]) <= int(found[2]) < source.size:
                detail = "The x-amz-copy-source-range value must be of the form bytes=first-last, and in the object"
                raise S3Error("InvalidArgument", detail, 400)
            start, end = int(found[1]), int(found[2]) + 1
        self._check_total(upload, number, end - start)
        with self._objects.incoming() as path:
            etag = _copy(source, start, end, path)
            self._uploads.put_part(upload, number, path, etag, "")
        return S3Answer(body=_copied("CopyPartResult", etag, source.modified))

    # Uploads in parts

    def begin(self, call: S3Call) -> S3Answer:
        check_headers(call.headers)
        algorithm = call.headers.get("x-amz-checksum-algorithm", "").lower()
        if algorithm and algorithm not in ALGORITHMS:
            raise _bad_request(f"Checksum algorithm provided is unsupported: {algorithm[:40]}")
        kind = call.headers.get("x-amz-checksum-type", "FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE")
        if kind not in ("FULL_OBJECT", "COMPOSITE") or (kind == "FULL_OBJECT") > (algorithm in FULL_OBJECT):
            raise _bad_request(f"The {kind[:20]} checksum type cannot be used with the {algorithm} checksum algorithm.")
        upload = self._uploads.begin(call.bucket, call.key, kept_headers(call.headers), algorithm, kind == "COMPOSITE")
        body = document(
            "InitiateMultipartUploadResult",
            element("Bucket", call.bucket),
            element("Key", call.key),
            element("UploadId", upload.id),
        )
        named = {"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": kind} if algorithm else {}
        return S3Answer(headers=named, body=body)

    def put_part(self, call: S3Call) -> S3Answer:
        upload, number, content = self._find(call), self._part_number(call), call.content
        self._check_total(upload, number, content.path.stat().st_size)
        checksum = content.checksum if content.algorithm == upload.algorithm else ""
        self._uploads.put_part(upload, number, content.path, content.etag, checksum)
        return S3Answer(headers={"ETag": content.etag, **_checksum_header(content.algorithm, content.checksum)})

    def complete(self, call: S3Call) -> S3Answer:
        root = parse_document(call.document, "CompleteMultipartUpload")
        upload, check = self._find(call), write_check(call)
        wanted, sums = [], {}
        for each in children(root, "Part"):
            number, etag = each.findtext("PartNumber") or "", each.findtext("ETag")
            if not re.fullmatch("[0-9]{1,5}", number) or etag is None:
                raise malformed()
            wanted.append((int(number), etag))
            sums[int(number)] = each.findtext(f"Checksum{upload.algorithm.upper()}") if upload.algorithm else None
        parts = self._uploads.choose(upload, wanted)
        for part in parts:
            if sums[part.number] not in (None, part.checksum):
                raise S3Error("InvalidPart", "The checksum of a part is not that of the part which was uploaded", 400)
        size = sum(each.entry.size for each in parts)
        self._check_size(size)
        if call.headers.get("x-amz-mp-object-size", str(size)) != str(size):
            raise _bad_request("The provided 'x-amz-mp-object-size' header does not match what was computed")
        digest = None if upload.is_composite or not upload.algorithm else ALGORITHMS[upload.algorithm]()
        given = call.headers.get(PREFIX + upload.algorithm) if upload.algorithm else None
        computed = _composite(upload, parts) if digest is None else None
        if digest is None and given is not None and computed is not None:
            _check_composite(upload, given, computed)

        def verify() -> None:
            if digest is not None and given is not None:
                check_checksum(upload.algorithm, given, encoded(digest))

        def ignore(data: bytes) -> None:
            pass

        on_bytes = ignore if digest is None else digest.update
        etag = etag_of_parts(parts)
        stored = self._uploads.complete(upload, parts, etag, check, on_bytes, verify, call.auditor)
        _log_stored(call, stored)
        value = computed if digest is None else encoded(digest)
        body = document(
            "CompleteMultipartUploadResult",
            element("Location", f"/{call.bucket}/{call.key}"),
            element("Bucket", call.bucket),
            element("Key", call.key),
            element("ETag", stored.etag),
            _checksum_element(upload, value),
        )
        return S3Answer(body=body)

    def abort(self, call: S3Call) -> S3Answer:
        self._uploads.abort(self._find(call))
        return S3Answer(204)

    def list_parts(self, call: S3Call) -> S3Answer:
        upload = self._find(call)
        most = call.number("max-parts", MOST_LISTED, 0, MOST_LISTED)
        after = call.number("part-number-marker", 0, 0, MOST_PARTS)
        parts = [each for each in self._uploads.parts(upload) if each.number > after]
        shown, more = parts[:most], len(parts) > most
        listed = [
            element(
                "Part",
                element("PartNumber", str(each.number)),
                element("LastModified", timestamp(each.entry.modified)),
                element("ETag", each.entry.etag),
                element("Size", str(each.entry.size)),
                optional(f"Checksum{upload.algorithm.upper()}", each.checksum or None),
            )
            for each in shown
        ]
        body = document(
            "ListPartsResult",
            element("Bucket", call.bucket),
            element("Key", call.key),
            element("UploadId", upload.id),
            element("PartNumberMarker", str(after)),
            element("NextPartNumberMarker", str(shown[-1].number if shown else after)),
            element("MaxParts", str(most)),
            element("IsTruncated", "true" if more else "false"),
            *listed,
            element("StorageClass", "STANDARD"),
        )
        return S3Answer(body=body)

    def list_uploads(self, call: S3Call) -> S3Answer:
        if call.text("delimiter"):
            raise not_implemented("delimiter of ListMultipartUploads")
        self._objects.require_bucket(call.bucket)
        most = call.number("max-uploads", MOST_LISTED, 1, MOST_LISTED)
        prefix, marker = call.text("prefix"), call.text("key-marker")
        found = [each for each in self._uploads.list(call.bucket) if each.key.startswith(prefix)]
        ids = [each.id for each in found if each.key == marker]
        seen = set(ids[: ids.index(call.text("upload-id-marker")) + 1]) if call.text("upload-id-marker") in ids else ids
        found = [each for each in found if each.key >= marker and each.id not in seen]
        shown, more = found[:most], len(found) > most
        listed = [
            element(
                "Upload",
                element("Key", each.key),
                element("UploadId", each.id),
                element("StorageClass", "STANDARD"),
                element("Initiated", timestamp(each.begun)),
            )
            for each in shown
        ]
        body = document(
            "ListMultipartUploadsResult",
            element("Bucket", call.bucket),
            element("KeyMarker", marker),
            element("UploadIdMarker", call.text("upload-id-marker")),
            optional("NextKeyMarker", shown[-1].key if more else None),
            optional("NextUploadIdMarker", shown[-1].id if more else None),
            element("Prefix", prefix),
            element("MaxUploads", str(most)),
            element("IsTruncated", "true" if more else "false"),
            *listed,
        )
        return S3Answer(body=body)

    def _find(self, call: S3Call) -> Upload:
        return self._uploads.find(call.text("uploadId"), call.bucket, call.key)

    def _part_number(self, call: S3Call) -> int:
        number = call.text("partNumber")
        if not re.fullmatch("[0-9]{1,5}", number) or not 1 <= int(number) <= MOST_PARTS:
            detail = "Part number must be an integer between 1 and 10000, inclusive"
            raise S3Error("InvalidArgument", detail, 400, {"ArgumentName": "partNumber"})
        return int(number)

    def _check_total(self, upload: Upload, number: int, size: int) -> None:
        others = sum(each.entry.size for each in self._uploads.parts(upload) if each.number != number)
        self._check_size(others + size)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            detail = "Your proposed upload exceeds the maximum allowed size"
            details = {"ProposedSize": str(size), "MaxSizeAllowed": str(self._limit)}
            raise S3Error("EntityTooLarge", detail, 400, details)


def parse_source(call: S3Call) -> tuple[str, str]:
    """Bucket and key of what is to be copied. Raises S3Error."""
    path, _, query = call.headers["x-amz-copy-source"].partition("?")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    version = parse_qs(query).get("versionId", ["null"])[-1]
    if not bucket or not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: bucket/key", 400)
    if version != "null":
        raise S3Error("NoSuchVersion", "The specified version does not exist.", 404, {"VersionId": version[:1024]})
    return bucket, key


def _check_source(call: S3Call, source: OpenObject) -> None:
    """The conditions on what is copied; S3 answers all of them with 412."""
    try:
        check_conditions(call.headers, source.etag, source.modified, "x-amz-copy-source-")
    except S3Error as error:
        detail = "At least one of the pre-conditions you specified did not hold"
        raise S3Error("PreconditionFailed", detail, 412) from error


def _copy(source: OpenObject, start: int, end: int, path: Path) -> str:
    """Those bytes into the file, on the disk. Their quoted MD5."""
    md5 = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        while start < end:
            piece = source.read(start, min(start + CHUNK, end))
            if not piece:
                raise OSError("a model file shrank while it was copied: replace files by renaming")
            md5.update(piece)
            file.write(piece)
            start += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return f'"{md5.hexdigest()}"'


def _copied(name: str, etag: str, modified: float) -> bytes:
    return document(name, element("LastModified", timestamp(modified)), element("ETag", etag))


def _composite(upload: Upload, parts: list[Part]) -> str | None:
    """The checksum of the parts' checksums; None where one has none."""
    if not upload.algorithm or not all(each.checksum for each in parts):
        return None
    digest = ALGORITHMS[upload.algorithm]()
    for each in parts:
        digest.update(base64.b64decode(each.checksum))
    return f"{encoded(digest)}-{len(parts)}"


def _check_composite(upload: Upload, given: str, computed: str) -> None:
    check_checksum(upload.algorithm, given.partition("-")[0], computed.partition("-")[0])


def _checksum_header(algorithm: str, checksum: str) -> Mapping[str, str]:
    return {PREFIX + algorithm: checksum, "x-amz-checksum-type": "FULL_OBJECT"} if checksum else {}


def _checksum_element(upload: Upload, value: str | None) -> Markup:
    if value is None:
        return Markup("")
    kind = "COMPOSITE" if upload.is_composite else "FULL_OBJECT"
    return Markup(element(f"Checksum{upload.algorithm.upper()}", value) + element("ChecksumType", kind))


def _log_stored(call: S3Call, stored: ObjectEntry) -> None:
    LOG.info("an object was stored", bucket=call.bucket, key=call.key[:200], bytes=stored.size, etag=stored.etag)


def _bad_request(detail: str) -> S3Error:
    return S3Error("InvalidRequest", detail, 400)
