"""A thread between the event loop and the database: calls that arrive while it works on a group are the next group.

So a commit, which waits for the disk, is shared by all calls that wait for one; where there is little to do a group is
one call. It must never keep the event loop waiting, and never lose a call: each future gets a result or an exception.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

MOST = 1000
"""Calls of one group at most."""

ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")


class GroupThread(Generic[ItemT, OutputT]):
    """Calls `work` with each group; it returns, in their order, what each call gets: an exception is raised there.

    What `work` raises, all calls of the group get. `submit` belongs to the event loop that made this object.
    """

    def __init__(self, name: str, work: Callable[[list[ItemT]], Sequence[OutputT | Exception]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._waiting: deque[tuple[ItemT, asyncio.Future[OutputT]]] = deque()
        self._wake = threading.Event()
        self._idle = self._ends = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: ItemT) -> "asyncio.Future[OutputT]":
        """What the call will get, once its group is done."""
        future: asyncio.Future[OutputT] = self._loop.create_future()
        self._waiting.append((item, future))
        if self._idle:
            self._wake.set()
        return future

    async def close(self) -> None:
        """Ends after the calls that wait."""
        self._ends = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._ends:
                    return
                self._idle = True
                if not self._waiting and not self._ends:  # neither came before `_idle` was seen
                    self._wake.wait()
                self._idle = False
                self._wake.clear()
                continue
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
            try:
                outputs: Sequence[OutputT | Exception] = self._work([item for item, _ in group])
            except Exception as error:
                outputs = [error] * len(group)
            self._loop.call_soon_threadsafe(_deliver, [future for _, future in group], outputs)


def _deliver(futures: Sequence["asyncio.Future[OutputT]"], outputs: Sequence[OutputT | Exception]) -> None:
    for future, output in zip(futures, outputs, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(output, Exception):
            future.set_exception(output)
        else:
            future.set_result(output)
