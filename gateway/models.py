"""Model files from S3, once for the whole site: one fetch however many devices ask, verified before a byte leaves.

The garden's other gate: boto3 S3 and the cache on disk. Knows no devices and no MQTT.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import structlog
from botocore.config import Config

from gateway import faults
from gateway.errors import CallFailed, CloudError, Code, FileFault
from gateway.messages import ModelFile
from gateway.modelcache import CHUNK, ModelCache, VerifiedFile
from gateway.retry import RetryPolicy, ShuttingDown

ATTEMPTS = 4
FAULT_KEPT = 10.0
"""Seconds for which a file that could not be had is not asked for again."""
SIZE_WAIT = 3.0
"""Seconds for which a plan waits for the sizes of its files."""
OPEN_FILES = 64
SIZES_KEPT = 10_000

_log = structlog.get_logger()


def make_client(region: str | None, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client for S3 by the standard AWS settings. Endpoints other than AWS's are spoken to path-style."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=connect_timeout, read_timeout=read_timeout)
    client = boto3.client("s3", region_name=region, config=config)
    if client.meta.endpoint_url.endswith(".amazonaws.com"):
        return client
    return boto3.client("s3", region_name=region, config=config.merge(Config(s3={"addressing_style": "path"})))


class Models:
    """Opens model files and tells their sizes."""

    def __init__(self, client: Any, folder: Path, limit: int, policy: RetryPolicy) -> None:
        """`limit`: bytes of the cache in `folder`. Raises OSError where that cannot be used."""
        self._client = client
        self._cache = ModelCache(folder, limit)
        self._policy = policy
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="models")
        self._open: OrderedDict[ModelFile, VerifiedFile] = OrderedDict()
        self._opening: dict[ModelFile, asyncio.Task[VerifiedFile]] = {}
        self._faults: dict[ModelFile, tuple[float, FileFault]] = {}
        self._sizes: OrderedDict[ModelFile, int] = OrderedDict()

    def opened(self, file: ModelFile) -> VerifiedFile | None:
        """The file, if it is at hand at once."""
        found = self._open.get(file)
        if found is not None:
            self._open.move_to_end(file)
        return found

    async def open(self, file: ModelFile) -> VerifiedFile:
        """The verified file, fetched once for all who ask meanwhile. Raises FileFault."""
        found = self.opened(file)
        if found is not None:
            return found
        until, fault = self._faults.get(file, (0.0, None))
        if fault is not None and time.monotonic() < until:
            raise fault
        task = self._opening.get(file)
        if task is None:
            task = self._opening[file] = asyncio.create_task(self._obtain(file))
            task.add_done_callback(lambda done: self._opening.pop(file, None))
        return await asyncio.shield(task)

    def drop(self, file: ModelFile) -> None:
        """The disk corrupted it: the next to ask has it verified, or fetched, anew."""
        found = self._open.pop(file, None)
        if found is not None:
            found.close()

    async def sizes(self, files: Iterable[ModelFile]) -> dict[str, int]:
        """The bytes of each file, by URL, as far as they can be had soon."""
        wanted = set(files)
        tasks = [asyncio.create_task(self._size(file)) for file in wanted if file not in self._sizes]
        if tasks:
            await asyncio.wait(tasks, timeout=SIZE_WAIT)
        for task in tasks:
            task.cancel()
        return {file.url: self._sizes[file] for file in wanted if file in self._sizes}

    def close(self) -> None:
        """Fetches that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _size(self, file: ModelFile) -> None:
        try:
            head = await self._in_thread(self._call, self._client.head_object, file.url)
        except (CloudError, FileFault) as error:
            _log.info("the size of a model file is not known", url=file.url, reason=str(error))
        else:
            self._keep_size(file, int(head["ContentLength"]))

    def _keep_size(self, file: ModelFile, size: int) -> None:
        self._sizes[file] = size
        if len(self._sizes) > SIZES_KEPT:
            self._sizes.popitem(last=False)

    async def _obtain(self, file: ModelFile) -> VerifiedFile:
        try:
            found = await self._in_thread(self._cache.open, file) or await self._fetched(file)
        except OSError as error:
            raise self._fault(file, FileFault(Code.GAVE_UP, f"the gateway's disk: {error.strerror}")) from error
        except FileFault as fault:
            raise self._fault(file, fault) from None
        self._keep_size(file, found.total)
        self._open[file] = found
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return found

    def _fault(self, file: ModelFile, fault: FileFault) -> FileFault:
        _log.error(
            "a model file cannot be given to devices: mend the object or the plan", url=file.url, reason=str(fault)
        )
        self._faults[file] = (time.monotonic() + FAULT_KEPT, fault)
        return fault

    async def _fetched(self, file: ModelFile) -> VerifiedFile:
        """From S3. Raises FileFault or OSError."""
        retrying = self._policy.briefly(ATTEMPTS)
        try:
            found: VerifiedFile = await retrying(self._in_thread, self._fetch, file)
        except CallFailed as error:
            raise FileFault(Code.GAVE_UP, f"{file.url} cannot be had now: {error}") from error
        except CloudError as error:
            raise FileFault(Code.UNKNOWN_PLAN, f"{file.url}: {error}") from error
        except ShuttingDown:
            raise FileFault(Code.GAVE_UP, "the gateway stops") from None
        return found

    def _fetch(self, file: ModelFile) -> VerifiedFile:
        """In a thread of the pool."""
        answer = self._call(self._client.get_object, file.url)
        body = answer["Body"]
        try:
            return self._cache.put(file, int(answer["ContentLength"]), body.iter_chunks(CHUNK))
        except (FileFault, OSError):
            raise
        except Exception as error:
            raise faults.of(error) from error
        finally:
            body.close()

    def _call(self, operation: Any, url: str) -> Any:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or not key:
            raise FileFault(Code.UNKNOWN_PLAN, f"{url[:200]} is not s3://BUCKET/KEY")
        try:
            return operation(Bucket=bucket, Key=key)
        except Exception as error:
            raise faults.of(error) from error

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
