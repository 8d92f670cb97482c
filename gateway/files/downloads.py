"""From a read to its blocks: the file is opened once for all who wait for it, then its blocks take their turns.

What waits for a file is bounded for each device: over the bound the oldest read is dropped, and the device asks again.
A read that waits already is not kept twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import Code, FileError
from gateway.files.block_sender import READS_KEPT, BlockSender
from gateway.files.cache import VerifiedFile
from gateway.files.fetcher import ModelFileStore
from gateway.protocol.messages import ModelFile, Read
from gateway.retry import ShuttingDown


@dataclass(frozen=True, slots=True)
class _PendingRead:
    topic: str
    read: Read
    unreadable: Callable[[FileError], None]


class ReadQueue:
    """Between the models and the blocks."""

    def __init__(self, models: ModelFileStore, sender: BlockSender) -> None:
        self._models = models
        self._sender = sender
        self._waiting: dict[ModelFile, dict[str, dict[Read, _PendingRead]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, topic: str, file: ModelFile, read: Read, unreadable: Callable[[FileError], None]) -> None:
        """Publish the blocks of `read` on `topic`; `unreadable` hears why that cannot be."""
        self._send(file, _PendingRead(topic, read, unreadable))

    def make_way(self) -> None:
        """Others are served: downloads go slower for a while."""
        self._sender.make_way()

    def _send(self, file: ModelFile, wish: _PendingRead) -> None:
        found = self._models.opened(file)
        if found is not None:
            self._sender.send(wish.topic, found, wish.read, lambda: self._corrupted(file, found, wish))
            return
        if file not in self._waiting:
            self._waiting[file] = {}
            task = asyncio.create_task(self._open(file))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        wishes = self._waiting[file].setdefault(wish.topic, {})
        wishes[wish.read] = wish
        if len(wishes) > READS_KEPT:
            del wishes[next(iter(wishes))]

    async def _open(self, file: ModelFile) -> None:
        fault = None
        try:
            await self._models.open(file)
        except FileError as error:
            fault = error
        except ShuttingDown:
            return  # the devices ask the next gateway
        except Exception as error:
            fault = FileError(Code.GAVE_UP, f"the gateway failed on it: {error!r}")
        for wishes in self._waiting.pop(file).values():
            if fault is not None:
                next(reversed(wishes.values())).unreadable(fault)
            else:
                for wish in wishes.values():
                    self._send(file, wish)

    def _corrupted(self, file: ModelFile, found: VerifiedFile, wish: _PendingRead) -> None:
        """The cache is not what it was; the read is answered again once the file is."""
        self._models.drop(file, found)
        self._send(file, wish)

    def close(self) -> None:
        """Nothing is sent any more."""
        for task in self._tasks:
            task.cancel()
        self._models.close()
