"""Calls that arrive while a group is worked on are the next group: a thread of its own, between the event loop and the
database.

So a commit, which waits for the disk, is shared by all calls that wait for one; where there is little to do a group is
one call. It must never keep the event loop waiting, and never lose a call: each future gets a result or an exception.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

MOST = 1000
"""Calls of one group at most."""

ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")
OnDone: TypeAlias = Callable[[Sequence[ItemT], Sequence[float], float, Sequence[OutputT | Exception]], None]
"""(calls of a group, when each came, when the work began, what they get), times by `time.perf_counter`."""


class GroupThread(Generic[ItemT, OutputT]):
    """Calls `work` with each group; it returns, in their order, what each call gets: an exception is raised there.

    What `work` raises, all calls of the group get. `on_done` is called in the thread once they have it, and must not
    raise. `submit` belongs to the event loop that made this object.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[ItemT]], Sequence[OutputT | Exception]],
        on_done: OnDone[ItemT, OutputT] = lambda *_: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._on_done = on_done
        self._waiting: deque[tuple[ItemT, asyncio.Future[OutputT], float]] = deque()
        self._wake = threading.Event()
        self._idle = self._ends = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: ItemT) -> "asyncio.Future[OutputT]":
        """What the call will get, once its group is done."""
        future: asyncio.Future[OutputT] = self._loop.create_future()
        self._waiting.append((item, future, time.perf_counter()))
        if self._idle:
            self._wake.set()
        return future

    def waiting(self) -> int:
        """How many calls wait for the next group."""
        return len(self._waiting)

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
            items = [item for item, _, _ in group]
            begun = time.perf_counter()
            try:
                outputs: Sequence[OutputT | Exception] = self._work(items)
            except Exception as error:
                outputs = [error] * len(group)
            self._loop.call_soon_threadsafe(_deliver, [future for _, future, _ in group], outputs)
            self._on_done(items, [came for _, _, came in group], begun, outputs)


def _deliver(futures: Sequence["asyncio.Future[OutputT]"], outputs: Sequence[OutputT | Exception]) -> None:
    for future, output in zip(futures, outputs, strict=True):
        if future.done():  # its caller has gone
            continue
        if isinstance(output, Exception):
            future.set_exception(output)
        else:
            future.set_result(output)
