"""From a read to its blocks: opens the file once for all reads that wait for it, then queues their blocks.

Waiting reads are limited for each device: above the limit the oldest is dropped, and the device reads again. The same
read must never wait twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import Code, FileError
from gateway.files.block_sender import MAX_QUEUED_READS, BlockSender
from gateway.files.cache import VerifiedFile
from gateway.files.fetcher import ModelFileStore
from gateway.protocol import ModelFile, Read
from gateway.retry import ShuttingDown


@dataclass(frozen=True, slots=True)
class _PendingRead:
    topic: str
    read: Read
    on_error: Callable[[FileError], None]


class ReadQueue:
    """Reads of files that are being opened."""

    def __init__(self, store: ModelFileStore, sender: BlockSender) -> None:
        self._store = store
        self._sender = sender
        self._pending: dict[ModelFile, dict[str, dict[Read, _PendingRead]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, topic: str, file: ModelFile, read: Read, on_error: Callable[[FileError], None]) -> None:
        """Publish the blocks of `read` on `topic`; `on_error` gets the reason if that is impossible."""
        self._send(file, _PendingRead(topic, read, on_error))

    def _send(self, file: ModelFile, pending: _PendingRead) -> None:
        opened = self._store.cached(file)
        if opened is not None:
            self._sender.send(
                pending.topic,
                opened,
                pending.read,
                lambda: self._on_corrupted(file, opened, pending),
                lambda why: pending.on_error(FileError(Code.REFUSED, why)),
            )
            return
        if file not in self._pending:
            self._pending[file] = {}
            task = asyncio.create_task(self._open(file))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        reads = self._pending[file].setdefault(pending.topic, {})
        reads[pending.read] = pending
        if len(reads) > MAX_QUEUED_READS:
            del reads[next(iter(reads))]

    async def _open(self, file: ModelFile) -> None:
        error = None
        try:
            await self._store.get(file)
        except FileError as failure:
            error = failure
        except ShuttingDown:
            return  # the devices read again from the next gateway
        except Exception as failure:
            error = FileError(Code.GAVE_UP, f"the gateway failed on it: {failure!r}")
        for reads in self._pending.pop(file).values():
            if error is not None:
                next(reversed(reads.values())).on_error(error)
            else:
                for pending in reads.values():
                    self._send(file, pending)

    def _on_corrupted(self, file: ModelFile, opened: VerifiedFile, pending: _PendingRead) -> None:
        """The file changed on the disk: the read waits until it is opened again."""
        self._store.drop(file, opened)
        self._send(file, pending)

    def close(self) -> None:
        """Nothing is sent any more."""
        for task in self._tasks:
            task.cancel()
        self._store.close()
