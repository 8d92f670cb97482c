"""Reads the access keys anew, in a thread of its own, so that what another process makes or revokes holds here too."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import structlog

from gateway.manager.control import KeyRing
from gateway.manager.errors import StoreUnavailable

INTERVAL = 1.0
"""Seconds between two reads."""
LEAST = 0.2
"""... where a caller has a key that is not known: somebody may call with one unknown key after the other."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class KeyReader:
    """Keeps the keys of a ring as they are in the database, from `start` to `close`, both on the event loop.

    While the database is away those that were read last hold.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._thread = ThreadPoolExecutor(1, "keys")
        self._wanted = asyncio.Event()
        self._next: asyncio.Future[Exception | None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._next = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Whoever waits goes on."""
        if self._task is not None and self._next is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._next.set_result(None)
            self._next = None
        await asyncio.to_thread(self._thread.shutdown)

    def read_again(self) -> "asyncio.Future[Exception | None] | None":
        """Done once the keys that there are now have been read; its result is why they could not. None: not started."""
        self._wanted.set()
        return self._next

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LEAST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL - LEAST):
                    await self._wanted.wait()
            self._wanted.clear()
            done, self._next = self._next, loop.create_future()
            assert done is not None
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self.ring.read)
            except StoreUnavailable as unavailable:
                error = unavailable
            except Exception as unexpected:
                LOG.exception("the access keys could not be read: those that were read last hold; please report it")
                error = unexpected
            finally:
                done.set_result(error)
