"""A thread between the event loop and the database: calls that arrive while it works on a group are the next group.

So a commit, which waits for the disk, is shared by all calls that wait for one; where there is little to do a group is
one call. While the database is away each group may take seconds to find that out: those that waited meanwhile are not
tried as well. It must never keep the event loop waiting, and never lose a call: each future gets a result or an
exception.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Generic, TypeAlias, TypeVar

from gateway.manager.errors import StoreUnavailable

MOST = 1000
"""Calls of one group at most."""

ItemT = TypeVar("ItemT")
OutputT = TypeVar("OutputT")


class Later(Enum):
    """In place of an output: the call goes on in the next thread."""

    LATER = auto()


WaitingCall: TypeAlias = tuple[ItemT, "asyncio.Future[OutputT]", float]
"""With the time at which it came, by `time.perf_counter`."""
OnDone: TypeAlias = Callable[[Sequence[ItemT], Sequence[float], float, Sequence[OutputT | Exception | Later]], None]
"""(calls of a group, when each came, when the work began, what they get), times as above."""


class GroupThread(Generic[ItemT, OutputT]):
    """Calls `work` with each group; it returns, in their order, what each call gets: an exception is raised there.

    What `work` raises, all calls of the group get; StoreUnavailable also those that wait for the next one. Where it
    returns `Later`, the call is one of `following`. `on_done` is called in the thread before they have it, and must not
    raise. `submit` belongs to the event loop that made this object.
    """

    following: "GroupThread[ItemT, OutputT] | None" = None

    def __init__(
        self,
        name: str,
        work: Callable[[list[ItemT]], Sequence[OutputT | Exception | Later]],
        on_done: OnDone[ItemT, OutputT] = lambda *_: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._on_done = on_done
        self._waiting: deque[WaitingCall[ItemT, OutputT]] = deque()
        self._wake = threading.Event()
        self._idle = self._ends = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: ItemT) -> "asyncio.Future[OutputT]":
        """What the call will get, once its group is done."""
        future: asyncio.Future[OutputT] = self._loop.create_future()
        self._put((item, future, time.perf_counter()))
        return future

    def _put(self, call: "WaitingCall[ItemT, OutputT]") -> None:
        self._waiting.append(call)
        if self._idle:
            self._wake.set()

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
            group = self._take(MOST)
            items = [item for item, _, _ in group]
            begun = time.perf_counter()
            try:
                outputs: Sequence[OutputT | Exception | Later] = self._work(items)
            except StoreUnavailable as error:
                group += self._take(len(self._waiting))
                items = [item for item, _, _ in group]
                outputs = [error] * len(group)
            except Exception as error:
                outputs = [error] * len(group)
            self._on_done(items, [came for _, _, came in group], begun, outputs)
            self._loop.call_soon_threadsafe(self._deliver, group, outputs)

    def _take(self, most: int) -> "list[WaitingCall[ItemT, OutputT]]":
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), most))]

    def _deliver(
        self, group: "Sequence[WaitingCall[ItemT, OutputT]]", outputs: Sequence[OutputT | Exception | Later]
    ) -> None:
        for call, output in zip(group, outputs, strict=True):
            future = call[1]
            if future.done():  # its caller has gone
                continue
            if isinstance(output, Exception):
                future.set_exception(output)
            elif isinstance(output, Later):
                assert self.following is not None
                self.following._put(call)
            else:
                future.set_result(output)
