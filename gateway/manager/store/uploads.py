"""Uploads in parts: an object of which the parts come one by one, in any order, to any manager of the database.

What was begun and its parts are objects of a bucket of our own, so that they are whole or not there, and with
PostgreSQL every manager has them. An upload to which nothing came for EXPIRES is removed.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from gateway.manager.errors import S3Error
from gateway.manager.store.audit import Auditor
from gateway.manager.store.object_facts import ObjectFacts
from gateway.manager.store.object_store import ObjectEntry, ObjectStore, ReplaceCheck

BUCKET = ".uploads"
EXPIRES = 24 * 3600.0
"""Seconds."""
LEAST_PART = 5 * 1024 * 1024
"""Bytes that each part but the last one has at least, as in S3."""
_ID = re.compile("[0-9a-f]{32}")
_BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Upload:
    """`headers`: of the object. `algorithm`: of the checksum of its parts, or empty. `begun`: Unix seconds."""

    id: str
    bucket: str
    key: str
    headers: Mapping[str, str] = field(default_factory=dict)
    algorithm: str = ""
    is_composite: bool = False
    begun: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was uploaded."""

    number: int
    entry: ObjectEntry

    @property
    def checksum(self) -> str:
        """In base64, or empty."""
        return self.entry.facts.headers.get("checksum", "")


class Uploads:
    """Those of the objects. Any thread may call it. Raises S3Error, StoreUnavailable, OSError."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def begin(self, bucket: str, key: str, headers: Mapping[str, str], algorithm: str, is_composite: bool) -> Upload:
        self._objects.require_bucket_to_put(bucket)
        upload = Upload(secrets.token_hex(16), bucket, key, headers, algorithm, is_composite, time.time())
        with self._objects.incoming() as path:
            with path.open("wb") as file:
                file.write(b"{}")
                file.flush()
                os.fsync(file.fileno())
            # The facts are what is kept of it: they come with the object at once.
            facts = ObjectFacts('""', {"upload": json.dumps(asdict(upload))})
            self._objects.put_unchecked(path, BUCKET, f"{upload.id}/{_BEGUN}", facts, _allow)
        return upload

    def find(self, number: str, bucket: str, key: str) -> Upload:
        """Raises S3Error where there is none for that object."""
        found = self._objects.find(BUCKET, f"{number}/{_BEGUN}") if _ID.fullmatch(number) else None
        upload = None if found is None else _upload(found)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            detail = "The specified multipart upload does not exist: its id is wrong, or it was aborted or completed."
            raise S3Error("NoSuchUpload", detail, 404, {"UploadId": number[:200]})
        return upload

    def put_part(self, upload: Upload, number: int, path: Path, etag: str, checksum: str) -> None:
        """The temporary file, which is whole and on the disk, replaces the part of that number."""
        facts = ObjectFacts(etag, {"checksum": checksum})
        self._objects.put_unchecked(path, BUCKET, f"{upload.id}/{number:05d}", facts, _allow)

    def parts(self, upload: Upload) -> list[Part]:
        """In order of their numbers."""
        found = self._objects.entries(BUCKET, f"{upload.id}/", with_etags=True)
        names = [(each.key.rpartition("/")[2], each) for each in found]
        return [Part(int(name), each) for name, each in names if name != _BEGUN]

    def choose(self, upload: Upload, wanted: Sequence[tuple[int, str]]) -> list[Part]:
        """The parts of those numbers and ETags, with which the upload is completed. Raises S3Error."""
        if not wanted:
            raise S3Error("MalformedXML", "You must specify at least one part", 400)
        if any(later <= earlier for (earlier, _), (later, _) in pairwise(wanted)):
            detail = "The list of parts was not in ascending order. The parts list must be specified in order by number"
            raise S3Error("InvalidPartOrder", detail, 400)
        known = {each.number: each for each in self.parts(upload)}
        chosen = []
        for number, etag in wanted:
            part = known.get(number)
            if part is None or part.entry.etag.strip('"') != etag.strip('"'):
                detail = "A part was not found, or its ETag is not that of the part which was uploaded"
                raise S3Error("InvalidPart", detail, 400, {"PartNumber": str(number), "ETag": etag[:100]})
            chosen.append(part)
        for part in chosen[:-1]:
            if part.entry.size < LEAST_PART:
                detail = "Your proposed upload is smaller than the minimum allowed size"
                size = {"ProposedSize": str(part.entry.size), "MinSizeAllowed": str(LEAST_PART)}
                raise S3Error("EntityTooSmall", detail, 400, size | {"PartNumber": str(part.number)})
        return chosen

    def complete(
        self,
        upload: Upload,
        parts: Iterable[Part],
        etag: str,
        check: ReplaceCheck,
        on_bytes: Callable[[bytes], None],
        verify: Callable[[], None],
        auditor: Auditor | None = None,
    ) -> ObjectEntry:
        """Makes the object of those parts; before it is there `on_bytes` is called with what it has, and `verify`."""
        chosen = list(parts)
        facts = ObjectFacts(etag, upload.headers, tuple(each.entry.size for each in chosen))
        with self._objects.incoming() as path:
            with path.open("wb") as file:

                def write(data: bytes) -> None:
                    on_bytes(data)
                    file.write(data)

                for part in chosen:
                    self._objects.read_into(write, BUCKET, part.entry)
                file.flush()
                os.fsync(file.fileno())
            verify()
            stored = self._objects.put(path, upload.bucket, upload.key, facts, check, auditor)
        self.abort(upload)
        return stored

    def abort(self, upload: Upload) -> None:
        """Removes it with its parts; the parts go last, so that none is left without it while requests are answered."""
        self._remove(upload.id)

    def list(self, bucket: str) -> list[Upload]:
        """Those of a bucket, in order of their keys and times."""
        found = [_upload(each) for each in self._objects.entries(BUCKET) if each.key.endswith(f"/{_BEGUN}")]
        return sorted((each for each in found if each.bucket == bucket), key=lambda each: (each.key, each.begun))

    def sweep(self, now: float) -> bool:
        """Removes those to which nothing came for EXPIRES, and what killed processes left. False: all is done."""
        self._objects.remove_abandoned()
        newest: dict[str, float] = {}
        for each in self._objects.entries(BUCKET):
            number = each.key.partition("/")[0]
            newest[number] = max(newest.get(number, 0.0), each.modified)
        for number, at in newest.items():
            if at < now - EXPIRES:
                self._remove(number)
        return False

    def _remove(self, number: str) -> None:
        keys = [each.key for each in self._objects.entries(BUCKET, f"{number}/")]
        self._objects.delete_unchecked(BUCKET, sorted(keys, reverse=True))  # first what says that it exists


def etag_of_parts(parts: Iterable[Part]) -> str:
    """S3's ETag of an object that was put in parts: the MD5 of their MD5s, and how many there are."""
    digests = [bytes.fromhex(each.entry.etag.strip('"')) for each in parts]
    return f'"{hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"'


def _upload(found: ObjectEntry) -> Upload:
    return Upload(**json.loads(found.facts.headers["upload"]))


def _allow(before: ObjectEntry | None) -> None:
    """Whatever is there is replaced."""
