"""The content of an object on its way from a connection into a temporary file.

The loop's thread hands bytes over, and a thread checks and writes them: one piece of work at a time. At most `FULL`
bytes and one read wait for it: the connection reads no further meanwhile. Whatever ends the upload, the file goes with
it, unless it became an object before.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.manager.errors import S3Error
from gateway.manager.http.s3.body_checks import BodyCheck
from gateway.manager.store import ObjectStore

FULL = 512 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A temporary file that is whole and on the disk. `etag`: quoted. `checksum`: in base64, or empty, as is its
    `algorithm`."""

    path: Path
    etag: str
    algorithm: str
    checksum: str


class IncomingBody:
    """A body that is received. All methods are called by the loop's thread.

    `size`: bytes that may come. `on_change` is called when there is room again, and when `error` is set: nothing more
    is taken then.
    """

    def __init__(
        self,
        objects: ObjectStore,
        check: BodyCheck,
        threads: Executor,
        on_end: Callable[["IncomingBody"], None] = lambda body: None,
    ) -> None:
        self.error: Exception | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._objects = objects
        self._check = check
        self._threads = threads
        self._on_end = on_end
        self._pending = bytearray()
        self._working: asyncio.Future[None] | None = None
        self._abandoned = self._closed = False
        # Of the thread
        self._stack = ExitStack()
        self._path = Path()
        self._file: BinaryIO | None = None

    @property
    def is_full(self) -> bool:
        return self.error is None and len(self._pending) >= FULL

    def receive(self, data: bytes) -> None:
        if self.error is None and not self._abandoned:
            self._pending += data
            self._work()

    async def finish(self) -> ReceivedBody:
        """All of it was given to `receive`. The caller calls `abandon` once it is done with the file.

        Raises S3Error where the body is wrong, and OSError.
        """
        while self._working is not None:
            await asyncio.wait([self._working])
        if self.error is not None:
            raise self.error
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._end)

    def abandon(self) -> None:
        """Removes the file, where it is still there."""
        self._abandoned = True
        self._pending.clear()
        if self._working is None and not self._closed:
            self._closed = True
            self._on_end(self)
            try:
                self._threads.submit(self._stack.close)
            except RuntimeError:  # the service ends, and its threads have
                self._stack.close()

    def _work(self) -> None:
        if self._working is None and self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            self._working = asyncio.get_running_loop().run_in_executor(self._threads, self._write, data)
            self._working.add_done_callback(self._worked)

    def _worked(self, done: "asyncio.Future[None]") -> None:
        self._working = None
        failure = None if done.cancelled() else done.exception()
        if self._abandoned:
            self.abandon()
            return
        if failure is not None or done.cancelled():
            self.error = failure if isinstance(failure, Exception) else S3Error("InternalError", "it ends", 503)
            self._pending.clear()
        else:
            self._work()
        self.on_change()

    def _write(self, data: bytes) -> None:
        pieces = self._check.feed(data)
        file = self._file or self._open()
        for piece in pieces:
            file.write(piece)

    def _open(self) -> BinaryIO:
        self._path = self._stack.enter_context(self._objects.incoming())
        self._file = self._stack.enter_context(self._path.open("wb"))
        return self._file

    def _end(self) -> ReceivedBody:
        etag, checksum = self._check.finish()
        file = self._file or self._open()
        file.flush()
        os.fsync(file.fileno())
        return ReceivedBody(self._path, etag, self._check.algorithm, checksum)
