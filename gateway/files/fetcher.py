"""Model files from S3, through the cache on disk: one fetch, however many devices read the file.

A file must never be returned before it is verified. It does not use MQTT and has no state of devices.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, IncompleteReadError

from gateway.cloud import check_endpoint, error_from_exception
from gateway.errors import (
    CloudError,
    Code,
    ConfigError,
    FileError,
    OperatorError,
    TransientError,
    one_line,
    redact_credentials,
)
from gateway.files.cache import CHUNK, FileCache, VerifiedFile
from gateway.protocol import ModelFile
from gateway.retry import RetryPolicy

ATTEMPTS = 4
ERROR_TTL = {Code.UNKNOWN_PLAN: 10.0, Code.GAVE_UP: 2.0}
"""Seconds for which a file that could not be fetched is not fetched again, by the code that devices get."""
NO_SIZE_TTL = 60.0
"""Seconds for which an unknown size stays unknown."""
SIZE_WAIT = 3.0
"""Seconds for which a plan waits for the sizes of its files."""
ABSENT = frozenset({"NoSuchKey", "NoSuchBucket"})
"""S3's codes for a missing object: the plan is wrong. With other rejections the credentials may be."""
MAX_OPEN_FILES = 64
MAX_SIZES = 10_000

_log = structlog.get_logger()


def make_s3_client(session: Any, region: str | None, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client for S3 by the standard AWS settings of a boto3 session; path-style for endpoints that are not
    AWS's.

    Raises ConfigError if they are wrong.
    """
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=connect_timeout, read_timeout=read_timeout)
    try:
        client = session.client("s3", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS settings: {redact_credentials(error)} (see AWS_ENDPOINT_URL_S3)"]) from error
    check_endpoint(client)
    if client.meta.endpoint_url.endswith(".amazonaws.com"):
        return client
    client.close()
    return session.client("s3", region_name=region, config=config.merge(Config(s3={"addressing_style": "path"})))


def s3_call(operation: Any, url: str) -> Any:
    """The response of an S3 operation on the object at `s3://BUCKET/KEY`. Raises CloudError, FileError."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise FileError(Code.UNKNOWN_PLAN, f"{url[:200]} is not s3://BUCKET/KEY")
    try:
        return operation(Bucket=bucket, Key=key)
    except Exception as error:
        raise error_from_exception(error) from error


class ModelFileStore:
    """Opens model files, and gets their sizes."""

    def __init__(self, client: Callable[[], Any], folder: Path, limit: int, policy: RetryPolicy) -> None:
        """`client` makes the S3 client at its first use: a fleet without models saves 14 MB.

        `limit`: bytes of the cache in `folder`. Raises OSError if that cannot be used.
        """
        self._s3 = cache(client)
        self._cache = FileCache(folder, limit)
        self._policy = policy
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="models")
        self._size_pool = ThreadPoolExecutor(4, thread_name_prefix="sizes")  # plans must not wait for fetches
        self._open: OrderedDict[ModelFile, VerifiedFile] = OrderedDict()
        self._opening: dict[ModelFile, asyncio.Task[VerifiedFile]] = {}
        self._errors: dict[ModelFile, tuple[float, FileError]] = {}
        self._sizes: OrderedDict[ModelFile, int | None] = OrderedDict()
        self._sizing: dict[ModelFile, asyncio.Task[None]] = {}

    def cached(self, file: ModelFile) -> VerifiedFile | None:
        """The file, if it is open."""
        opened = self._open.get(file)
        if opened is not None:
            self._open.move_to_end(file)
            opened.touch()
        return opened

    async def get(self, file: ModelFile) -> VerifiedFile:
        """The verified file; concurrent callers share one fetch. Raises FileError or ShuttingDown."""
        opened = self.cached(file)
        if opened is not None:
            return opened
        until, error = self._errors.get(file, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise FileError(error.code, error.detail)
        task = self._opening.get(file)
        if task is None:
            task = self._opening[file] = asyncio.create_task(self._load(file))
            task.add_done_callback(lambda done: self._opening.pop(file, None))
        return await asyncio.shield(task)

    def drop(self, file: ModelFile, opened: VerifiedFile) -> None:
        """The disk corrupted `opened`: the next `get` verifies or fetches it again."""
        if self._open.get(file) is opened:
            del self._open[file]

    async def sizes(self, files: Iterable[ModelFile]) -> dict[str, int]:
        """The bytes of each file, by URL; without those that are not known within SIZE_WAIT."""
        wanted = set(files)
        tasks = {file: self._size_task(file) for file in wanted if file not in self._sizes}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=SIZE_WAIT)
        for file, task in tasks.items():
            if not task.done():
                self._keep_size(file, None)
        sizes = {file.url: self._sizes.get(file) for file in wanted}
        return {url: size for url, size in sizes.items() if size is not None}

    def close(self) -> None:
        """Fetches that have not started are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._size_pool.shutdown(wait=False, cancel_futures=True)
        if self._s3.cache_info().currsize:
            self._s3().close()

    def _size_task(self, file: ModelFile) -> asyncio.Task[None]:
        """One request for all plans that name the file."""
        task = self._sizing.get(file)
        if task is None:
            task = self._sizing[file] = asyncio.create_task(self._fetch_size(file))
            task.add_done_callback(lambda done: self._sizing.pop(file, None))
        return task

    def _s3_call(self, operation: str, url: str) -> Any:
        """In a thread: making a client takes a while."""
        return s3_call(getattr(self._s3(), operation), url)

    async def _fetch_size(self, file: ModelFile) -> None:
        try:
            head = await self._in_thread(self._size_pool, self._s3_call, "head_object", file.url)
            self._keep_size(file, int(head["ContentLength"]))
        except (CloudError, FileError, KeyError) as error:
            event = "the size of a model file is not known; plans name the file without it"
            _log.info(event, url=file.url, reason=str(error))
            self._keep_size(file, None)

    def _keep_size(self, file: ModelFile, size: int | None) -> None:
        self._sizes[file] = size
        if size is None:
            asyncio.get_running_loop().call_later(NO_SIZE_TTL, self._forget_unknown_size, file)
        if len(self._sizes) > MAX_SIZES:
            self._sizes.popitem(last=False)

    def _forget_unknown_size(self, file: ModelFile) -> None:
        if self._sizes.get(file, 0) is None:
            del self._sizes[file]

    async def _load(self, file: ModelFile) -> VerifiedFile:
        try:
            opened = await self._get_or_fetch(file)
        except OSError as error:
            raise self._keep_error(file, FileError(Code.GAVE_UP, f"the gateway's disk: {error.strerror}")) from error
        except FileError as error:
            raise self._keep_error(file, error) from None
        self._keep_size(file, opened.total)
        self._release_evicted()
        self._open[file] = opened
        if len(self._open) > MAX_OPEN_FILES:
            self._open.popitem(last=False)
        return opened

    async def _get_or_fetch(self, file: ModelFile) -> VerifiedFile:
        """From the cache, or S3. Raises FileError, OSError or ShuttingDown."""
        opened: VerifiedFile | None = await self._in_thread(self._pool, self._cache.open, file)
        if opened is not None:
            return opened
        try:
            return await self._fetch(file)
        except OSError:
            if not self._release_evicted():
                raise
            return await self._fetch(file)

    def _release_evicted(self) -> int:
        """Close evicted files, which frees their disk space; the number of them."""
        before = len(self._open)
        self._open = OrderedDict((file, opened) for file, opened in self._open.items() if not opened.evicted)
        return before - len(self._open)

    def _keep_error(self, file: ModelFile, error: FileError) -> FileError:
        """For ERROR_TTL. Its detail becomes an MQTT user property, which must not have control characters."""
        error = FileError(error.code, one_line(error.detail))
        now = time.monotonic()
        self._errors = {each: kept for each, kept in self._errors.items() if kept[0] > now}
        self._errors[file] = (now + ERROR_TTL[error.code], error)
        self._sizes.pop(file, None)  # it may be that of another object
        if error.code is Code.UNKNOWN_PLAN:
            event = "a model file cannot be used; devices get code 5; upload or deploy it again"
        else:
            event = "a model file cannot be fetched now; devices get code 7 and read again; check S3 and the disk"
        _log.error(event, url=file.url, reason=str(error))
        return error

    async def _fetch(self, file: ModelFile) -> VerifiedFile:
        """From S3. Raises FileError, OSError or ShuttingDown."""
        retrying = self._policy.limited(ATTEMPTS)
        try:
            opened: VerifiedFile = await retrying(self._in_thread, self._pool, self._download, file)
        except CloudError as error:
            if isinstance(error, TransientError | OperatorError) and error.reason not in ABSENT:
                raise FileError(Code.GAVE_UP, f"{file.url} cannot be fetched now: {error}") from error
            raise FileError(Code.UNKNOWN_PLAN, f"{file.url}: {error}") from error
        return opened

    def _download(self, file: ModelFile) -> VerifiedFile:
        """In a thread of the pool."""
        response = self._s3_call("get_object", file.url)
        body = response["Body"]
        try:
            if "ContentLength" not in response:
                raise FileError(Code.UNKNOWN_PLAN, f"{file.url} comes without its length")
            return self._cache.put(file, int(response["ContentLength"]), _chunks(body))
        finally:
            body.close()

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


def _chunks(body: Any) -> Iterator[bytes]:
    """Raises CloudError: an error in here is S3's or the network's, never the disk's."""
    try:
        yield from body.iter_chunks(CHUNK)
    except IncompleteReadError as error:
        raise TransientError("IncompleteRead", str(error)) from error
    except Exception as error:
        raise error_from_exception(error) from error
