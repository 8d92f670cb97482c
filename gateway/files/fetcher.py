"""Model files from S3, once for the whole site: one fetch however many devices ask, verified before a byte leaves.

The garden's other gate: boto3 S3 and the cache on disk. Knows no devices and no MQTT.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, IncompleteReadError

from gateway.cloud import error_mapping
from gateway.errors import CloudError, Code, ConfigError, FileError, OperatorError, TransientError, one_line
from gateway.files.cache import CHUNK, FileCache, VerifiedFile
from gateway.protocol.messages import ModelFile
from gateway.retry import RetryPolicy

ATTEMPTS = 4
FAULT_KEPT = {Code.UNKNOWN_PLAN: 10.0, Code.GAVE_UP: 2.0}
"""Seconds for which a file that could not be had is not asked for again, by what devices are told."""
NO_SIZE_KEPT = 60.0
"""Seconds for which plans go without a size that could not be had."""
SIZE_WAIT = 3.0
"""Seconds for which a plan waits for the sizes of its files."""
ABSENT = frozenset({"NoSuchKey", "NoSuchBucket"})
"""S3's codes for an object that is not there: the plan is wrong. Where it refuses, the credentials may be."""
OPEN_FILES = 64
SIZES_KEPT = 10_000

_log = structlog.get_logger()


def make_client(region: str | None, connect_timeout: float, read_timeout: float) -> Any:
    """The boto3 client for S3 by the standard AWS settings. Endpoints other than AWS's are spoken to path-style.

    Raises ConfigError where none can be made.
    """
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=connect_timeout, read_timeout=read_timeout)
    try:
        session = boto3.Session()
        client = session.client("s3", region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError([f"AWS settings: {error} (see AWS_ENDPOINT_URL_S3)"]) from error
    if client.meta.endpoint_url.endswith(".amazonaws.com"):
        return client
    return session.client("s3", region_name=region, config=config.merge(Config(s3={"addressing_style": "path"})))


def ask(operation: Any, url: str) -> Any:
    """The answer of one operation of S3 on the object of an `s3://BUCKET/KEY`. Raises CloudError, FileFault."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise FileError(Code.UNKNOWN_PLAN, f"{url[:200]} is not s3://BUCKET/KEY")
    try:
        return operation(Bucket=bucket, Key=key)
    except Exception as error:
        raise error_mapping.from_exception(error) from error


class ModelFileStore:
    """Opens model files and tells their sizes."""

    def __init__(self, client: Callable[[], Any], folder: Path, limit: int, policy: RetryPolicy) -> None:
        """`client` makes the S3 client, once one is needed: a fleet without models saves 14 MB. `limit`: bytes of the
        cache in `folder`. Raises OSError where that cannot be used."""
        self._s3 = cache(client)
        self._cache = FileCache(folder, limit)
        self._policy = policy
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="models")
        self._size_pool = ThreadPoolExecutor(4, thread_name_prefix="sizes")  # plans do not wait for fetches
        self._open: OrderedDict[ModelFile, VerifiedFile] = OrderedDict()
        self._opening: dict[ModelFile, asyncio.Task[VerifiedFile]] = {}
        self._faults: dict[ModelFile, tuple[float, FileError]] = {}
        self._sizes: OrderedDict[ModelFile, int | None] = OrderedDict()
        self._sizing: dict[ModelFile, asyncio.Task[None]] = {}

    def opened(self, file: ModelFile) -> VerifiedFile | None:
        """The file, if it is at hand at once."""
        found = self._open.get(file)
        if found is not None:
            self._open.move_to_end(file)
            found.touch()
        return found

    async def open(self, file: ModelFile) -> VerifiedFile:
        """The verified file, fetched once for all who ask meanwhile. Raises FileFault, or ShuttingDown."""
        found = self.opened(file)
        if found is not None:
            return found
        until, fault = self._faults.get(file, (0.0, None))
        if fault is not None and time.monotonic() < until:
            raise FileError(fault.code, fault.detail)
        task = self._opening.get(file)
        if task is None:
            task = self._opening[file] = asyncio.create_task(self._obtain(file))
            task.add_done_callback(lambda done: self._opening.pop(file, None))
        return await asyncio.shield(task)

    def drop(self, file: ModelFile, found: VerifiedFile) -> None:
        """The disk corrupted it: the next to ask has it verified, or fetched, anew, if nobody else had before."""
        if self._open.get(file) is found:
            del self._open[file]

    async def sizes(self, files: Iterable[ModelFile]) -> dict[str, int]:
        """The bytes of each file, by URL, as far as they can be had soon."""
        wanted = set(files)
        tasks = {file: self._asked_size(file) for file in wanted if file not in self._sizes}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=SIZE_WAIT)
        for file, task in tasks.items():
            if not task.done():
                self._keep_size(file, None)
        found = {file.url: self._sizes.get(file) for file in wanted}
        return {url: size for url, size in found.items() if size is not None}

    def close(self) -> None:
        """Fetches that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._size_pool.shutdown(wait=False, cancel_futures=True)
        if self._s3.cache_info().currsize:
            self._s3().close()

    def _asked_size(self, file: ModelFile) -> asyncio.Task[None]:
        """One question for all plans that name the file."""
        task = self._sizing.get(file)
        if task is None:
            task = self._sizing[file] = asyncio.create_task(self._size(file))
            task.add_done_callback(lambda done: self._sizing.pop(file, None))
        return task

    def _ask(self, operation: str, url: str) -> Any:
        """In a thread: to make a client takes a while."""
        return ask(getattr(self._s3(), operation), url)

    async def _size(self, file: ModelFile) -> None:
        try:
            head = await self._in_thread(self._size_pool, self._ask, "head_object", file.url)
            self._keep_size(file, int(head["ContentLength"]))
        except (CloudError, FileError, KeyError) as error:
            _log.info("the size of a model file is not known", url=file.url, reason=str(error))
            self._keep_size(file, None)

    def _keep_size(self, file: ModelFile, size: int | None) -> None:
        self._sizes[file] = size
        if size is None:
            asyncio.get_running_loop().call_later(NO_SIZE_KEPT, self._forget_no_size, file)
        if len(self._sizes) > SIZES_KEPT:
            self._sizes.popitem(last=False)

    def _forget_no_size(self, file: ModelFile) -> None:
        if self._sizes.get(file, 0) is None:
            del self._sizes[file]

    async def _obtain(self, file: ModelFile) -> VerifiedFile:
        try:
            found = await self._at_hand(file)
        except OSError as error:
            raise self._fault(file, FileError(Code.GAVE_UP, f"the gateway's disk: {error.strerror}")) from error
        except FileError as fault:
            raise self._fault(file, fault) from None
        self._keep_size(file, found.total)
        self._let_go()
        self._open[file] = found
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)
        return found

    async def _at_hand(self, file: ModelFile) -> VerifiedFile:
        """From the cache, or S3. Raises FileFault, OSError or ShuttingDown."""
        found: VerifiedFile | None = await self._in_thread(self._pool, self._cache.open, file)
        if found is not None:
            return found
        try:
            return await self._fetched(file)
        except OSError:
            if not self._let_go():
                raise
            return await self._fetched(file)

    def _let_go(self) -> int:
        """Of files that were evicted: only then has the disk their room. How many there were."""
        held = len(self._open)
        self._open = OrderedDict((each, found) for each, found in self._open.items() if not found.evicted)
        return held - len(self._open)

    def _fault(self, file: ModelFile, fault: FileError) -> FileError:
        """Keep it for a while. Its detail becomes a property on `dead`, where no control character of a URL may be."""
        fault = FileError(fault.code, one_line(fault.detail))
        now = time.monotonic()
        self._faults = {each: kept for each, kept in self._faults.items() if kept[0] > now}
        self._faults[file] = (now + FAULT_KEPT[fault.code], fault)
        self._sizes.pop(file, None)  # that of another object, maybe
        follows = "mend the object or the plan" if fault.code is Code.UNKNOWN_PLAN else "devices go on asking"
        _log.error(f"a model file cannot be given to devices: {follows}", url=file.url, reason=str(fault))
        return fault

    async def _fetched(self, file: ModelFile) -> VerifiedFile:
        """From S3. Raises FileFault, OSError or ShuttingDown."""
        retrying = self._policy.limited(ATTEMPTS)
        try:
            found: VerifiedFile = await retrying(self._in_thread, self._pool, self._fetch, file)
        except CloudError as error:
            passes = isinstance(error, TransientError | OperatorError) and error.reason not in ABSENT
            if passes:
                raise FileError(Code.GAVE_UP, f"{file.url} cannot be had now: {error}") from error
            raise FileError(Code.UNKNOWN_PLAN, f"{file.url}: {error}") from error
        return found

    def _fetch(self, file: ModelFile) -> VerifiedFile:
        """In a thread of the pool."""
        answer = self._ask("get_object", file.url)
        body = answer["Body"]
        try:
            return self._cache.put(file, _length(answer, file), _chunks(body))
        finally:
            body.close()

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


def _length(answer: Any, file: ModelFile) -> int:
    if "ContentLength" not in answer:
        raise FileError(Code.UNKNOWN_PLAN, f"{file.url} comes without its length")
    return int(answer["ContentLength"])


def _chunks(body: Any) -> Iterator[bytes]:
    """What goes wrong in here is S3's or the network's, never the disk's. Raises CloudError."""
    try:
        yield from body.iter_chunks(CHUNK)
    except IncompleteReadError as error:
        raise TransientError("IncompleteRead", str(error)) from error
    except Exception as error:
        raise error_mapping.from_exception(error) from error
