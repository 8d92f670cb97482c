"""The calls of an operator to a manager that runs elsewhere, by boto3: signed with the keys of AWS's settings.

A call is sent once: most change something, and whoever repeats one must know what became of it.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED, xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from gateway.manager.client.client import ManagerClient
from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.models import PATH, SERVICE
from gateway.manager.store import object_key, require_bucket_name

REGION = "us-east-1"
"""Where AWS's settings name none: a manager has one of each resource, whatever the region."""
CONNECT = 10.0
READ = 300.0
"""Seconds: to write a rollout of a million devices takes minutes."""


def edge_manager_client(session: boto3.Session | None = None, **options: Any) -> Any:
    """boto3's client of the operations that AWS's API has not, with paginators and the waiter `rollout_completed`.

    `session` None: the default one. `options`: of `boto3.Session.client`, such as endpoint_url.
    """
    session = session or boto3.Session()
    loader = session._loader  # the one of its botocore session, which boto3 does not give otherwise
    if str(PATH) not in loader.search_paths:
        loader.search_paths.append(str(PATH))
    return session.client(SERVICE, **{"region_name": session.region_name or REGION} | options)  # type: ignore[call-overload]


class RemoteClient(ManagerClient):
    """`endpoint` None: the one of the profile. `profile` None: AWS's default. Raises ManagerError."""

    def __init__(self, endpoint: str | None, profile: str | None) -> None:
        self._options: dict[str, Any] = {"endpoint_url": endpoint} if endpoint else {}
        self._session = _explained(partial(boto3.Session, profile_name=profile))
        region = _explained(lambda: self._session.region_name) or REGION
        config = Config(
            connect_timeout=CONNECT,
            read_timeout=READ,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            signature_version=UNSIGNED if _explained(self._session.get_credentials) is None else None,
        )
        self._options |= {"region_name": region, "config": config}
        self._own = _explained(partial(edge_manager_client, self._session, **self._options))
        self._sagemaker: Any = None
        if endpoint is None and "amazonaws.com" in self._own.meta.endpoint_url:
            raise ManagerError(f"profile {profile} has no endpoint_url: give --endpoint-url, the URL of the manager")

    def close(self) -> None:
        self._own.close()

    def sagemaker(self, operation: str, **members: Any) -> Mapping[str, Any]:
        if self._sagemaker is None:
            self._sagemaker = self._client("sagemaker")
        return _sent(self._sagemaker, operation, members)

    def store_file(self, file: Path, bucket: str, handle: str) -> str:
        """A file that is there already is not sent again."""
        require_bucket_name(bucket)
        with _copied(file) as content, contextlib.closing(self._client("s3")) as s3:
            sha1 = hashlib.file_digest(content, partial(hashlib.sha1, usedforsecurity=False)).hexdigest()
            key, size = object_key(handle, sha1, file), content.tell()
            if not size:
                raise ManagerError(f"{file} is empty: a model file is expected")
            content.seek(0)
            if not _is_there(s3, bucket, key, size):
                _explained(partial(s3.upload_fileobj, content, bucket, key))
        return f"s3://{bucket}/{key}"

    def _send(self, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        return _sent(self._own, operation, members)

    def _client(self, service: str) -> Any:
        return _explained(partial(self._session.client, service, **self._options))


@contextlib.contextmanager
def _copied(file: Path) -> Iterator[Any]:
    """An open file: what is hashed must be what is sent, and the file may change meanwhile, or be a pipe."""
    with file.open("rb") as source, tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def _is_there(s3: Any, bucket: str, key: str, size: int) -> bool:
    try:
        found: bool = s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == size
    except ClientError:  # the upload says what is wrong
        return False
    except BotoCoreError as error:
        raise _error(error) from error
    return found


def _sent(client: Any, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
    output: Mapping[str, Any] = _explained(partial(getattr(client, xform_name(operation)), **members))
    return output


def _explained(call: Callable[[], Any]) -> Any:
    """Raises ManagerError for boto3's exceptions."""
    try:
        return call()
    except (BotoCoreError, ClientError, boto3.exceptions.Boto3Error) as error:
        raise _error(error) from error


def _error(error: Exception) -> ManagerError:
    if isinstance(error, ClientError):
        answer = error.response
        text = answer["Error"].get("Message") or str(error)
        is_away = answer["ResponseMetadata"].get("HTTPStatusCode") == 503
    else:
        text, is_away = str(error), isinstance(error, ConnectionError | HTTPClientError)
    return StoreUnavailable(text) if is_away else ManagerError(text)
