"""Another S3, of which jobs take model files. It must never write there, and never be the manager's own port.

By botocore, with the credentials and the region that AWS's SDKs find; it is loaded with the first file that is asked
for. An object is read in ranges, so that one that breaks off goes on where it was.
"""

from functools import cached_property
from typing import Any

from gateway.manager.store import CHUNK

RANGE = 32 * CHUNK
"""Bytes of one request."""
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 5
"""Seconds."""
REGION = "us-east-1"
"""Where neither environment nor profile names one."""
_LATER = ("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded")


class S3Away(Exception):
    """It does not answer, or not now: a later attempt may succeed."""


class S3Refused(Exception):
    """The object cannot be read, and a later attempt would not change that."""


class S3Changed(Exception):
    """The object was replaced while it was read: what was read is to be read anew."""


class OtherS3:
    """`endpoint`: its URL. `most`: bytes that an object may have. One thread at a time may use it."""

    def __init__(self, endpoint: str, most: int) -> None:
        self.endpoint = endpoint
        self._most = most

    def open(self, bucket: str, key: str) -> "OtherObject":
        """Raises S3Away, and S3Refused: it is not there, may not be read, or is too large."""
        try:
            answer = self.get(bucket, key, {"Range": "bytes=0-0"})
        except _EmptyObject:
            return OtherObject(self, bucket, key, 0, "")
        answer["Body"].close()
        size = int(answer["ContentRange"].rpartition("/")[2])
        if size > self._most:
            raise S3Refused(f"it has {size:,} bytes, more than --max-object-size")
        return OtherObject(self, bucket, key, size, answer["ETag"])

    def get(self, bucket: str, key: str, more: dict[str, str]) -> Any:
        """The answer to GetObject of a range."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **more)
        except ClientError as error:
            raise _fault_of_answer(error.response) from error
        except BotoCoreError as error:
            raise self.fault(error) from error
        if "ContentRange" not in answer:
            answer["Body"].close()
            raise S3Refused(f"{self.endpoint} sends no ranges of an object")
        return answer

    def fault(self, error: Exception) -> Exception:
        """What an error of botocore means that is no answer."""
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        is_away = isinstance(error, (HTTPClientError, IncompleteReadError, NoConnection))
        text = " ".join(str(error).split())
        return S3Away(text) if is_away else S3Refused(text)

    @cached_property
    def _client(self) -> Any:
        import botocore.session
        from botocore.config import Config

        session = botocore.session.get_session()
        return session.create_client(
            "s3",
            region_name=session.get_config_variable("region") or REGION,
            endpoint_url=self.endpoint,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"total_max_attempts": 1},  # jobs repeat
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        )


class OtherObject:
    """An object as it was when it was opened. `size` in bytes."""

    def __init__(self, s3: OtherS3, bucket: str, key: str, size: int, etag: str) -> None:
        self.size = size
        self._s3 = s3
        self._name = bucket, key
        self._etag = etag
        self._done = 0
        self._end = 0
        self._body: Any = None

    def read(self) -> bytes:
        """The next CHUNK bytes, the rest where there are fewer; none: the end. After S3Away it goes on there.

        Raises S3Away, S3Changed, S3Refused.
        """
        if self._done == self.size:
            return b""
        if self._body is None:
            self._end = min(self._done + RANGE, self.size)
            asked = {"Range": f"bytes={self._done}-{self._end - 1}", "IfMatch": self._etag}
            self._body = self._s3.get(*self._name, asked)["Body"]
        wanted = min(CHUNK, self._end - self._done)
        data = self._read_body(wanted)
        if len(data) != wanted:
            self.close()
            raise S3Away("the answer ended before its end")
        self._done += wanted
        if self._done == self._end:
            self.close()
        return data

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _read_body(self, wanted: int) -> bytes:
        from botocore.exceptions import BotoCoreError

        try:
            data: bytes = self._body.read(wanted)
        except BotoCoreError as error:
            self.close()
            raise self._s3.fault(error) from error
        return data


class _EmptyObject(Exception):
    """It has no first byte."""


def _fault_of_answer(response: Any) -> Exception:
    """What S3's error says."""
    code, status = response["Error"].get("Code", ""), response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 416:
        return _EmptyObject()
    if status == 412:
        return S3Changed()
    text = " ".join(f"{code}: {response['Error'].get('Message', '')}".split())
    return S3Away(text) if status >= 500 or code in _LATER else S3Refused(text)
