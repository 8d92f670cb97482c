"""Shared by the tests of model files: files by their content, and an S3 client that keeps objects in memory.

No test of its own. The client stands for boto3's: its answers and its errors have the shapes of botocore.
"""

import hashlib
import io
import threading
from collections import Counter
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from gateway.protocol.messages import ModelFile
from tests.support.arrivals import DEADLINE_S


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def named(content: bytes, url: str = "s3://models/kws.tflite") -> ModelFile:
    """The file that a plan names so."""
    return ModelFile(url, sha1(content))


def pattern(size: int) -> bytes:
    """No two places of it look alike within 64 KiB."""
    return b"".join(number.to_bytes(4, "big") for number in range(-(-size // 4)))[:size]


class S3:
    """`objects`: content by key of the one bucket. `gate`: what holds every call until it is set."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {name.replace("_", "."): content for name, content in objects.items()}
        self.calls: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.declared: int | None = None

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        content = self._content("GET", Key)
        body = StreamingBody(io.BytesIO(content), self._length(content))  # type: ignore[no-untyped-call]
        return {"ContentLength": self._length(content), "Body": body}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return {"ContentLength": self._length(self._content("HEAD", Key))}

    def close(self) -> None:
        self.gate.set()

    def _length(self, content: bytes) -> int:
        return len(content) if self.declared is None else self.declared

    def _content(self, method: str, key: str) -> bytes:
        self.calls[method] += 1
        self.gate.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        if key not in self.objects:
            raise s3_error("NoSuchKey", 404)
        return self.objects[key]


def s3_error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "as it says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")
