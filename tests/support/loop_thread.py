"""An asyncio event loop in a thread of its own, for servers beside a test that is not async.

It must never outlive its context, and no call into it waits without a deadline.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.support.arrivals import DEADLINE_S

T = TypeVar("T")


class LoopThread:
    """A context manager around `opened` and `closed`, which run on the loop: before the context and after it."""

    def __init__(self, name: str, deadline: float = DEADLINE_S) -> None:
        self.loop = asyncio.new_event_loop()
        self._deadline = deadline
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)

    async def opened(self) -> None:
        """What is started with the loop."""

    async def closed(self) -> None:
        """What ends before the loop ends."""

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.opened())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.run(self.closed())
        finally:
            self._stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop and wait for its result. Raises TimeoutError after the deadline."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(self._deadline)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call it on the loop, where nothing else happens meanwhile."""

        async def call() -> T:
            return function(*arguments)

        return self.run(call())

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE_S)
        self.loop.close()
