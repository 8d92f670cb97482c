"""Opens model files for requests. With PostgreSQL the database is asked first whether the folder's copy is the file.

A file is fetched once, however many requests wait for it. The threads that fetch are none of those that read the
folder: copies that are there are served while the database is away.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from gateway.manager.errors import S3Error, StoreUnavailable
from gateway.manager.store import ObjectStore, OpenObject

AT_ONCE = 4
"""Files that are fetched at once."""
PATIENCE = 2.0
"""Seconds after which a database that does not answer is taken as away."""


class ModelFiles:
    """The files of `objects`, until `close`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(AT_ONCE, "model files")
        self._fetched: dict[tuple[str, str], asyncio.Future[bool]] = {}

    async def open(self, bucket: str, key: str) -> OpenObject:
        """Raises S3Error, StoreUnavailable where the file may be in the database, which is away, and OSError."""
        if self._objects.shared is not None:
            fetching = self._fetch(bucket, key)
            try:
                await asyncio.wait_for(asyncio.shield(fetching), PATIENCE)
            except (TimeoutError, StoreUnavailable):
                try:
                    return await asyncio.to_thread(self._objects.open, bucket, key)
                except (S3Error, StoreUnavailable):
                    await asyncio.shield(fetching)
        return await asyncio.to_thread(self._objects.open, bucket, key)

    async def close(self) -> None:
        """Files that are being fetched are given up."""
        if self._objects.shared is not None:
            self._objects.shared.close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def _fetch(self, bucket: str, key: str) -> "asyncio.Future[bool]":
        name = bucket, key
        fetched = self._fetched.get(name)
        if fetched is None:
            loop = asyncio.get_running_loop()
            fetched = self._fetched[name] = loop.run_in_executor(self._threads, self._objects.fetch, bucket, key)
            fetched.add_done_callback(lambda done: self._fetched.pop(name))
        return fetched
