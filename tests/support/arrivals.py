"""What arrives in another thread, awaited by a test: the first that fits, with a deadline.

It must never sleep to see whether something comes: absence is shown by a sentinel that was sent later.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

DEADLINE_S = 60.0
"""For what must happen, on the slowest machine too: only a test that fails waits so long."""

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Put by one thread, taken by another."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._came: list[T] = []
        self._news = threading.Condition()

    def put(self, item: T) -> None:
        with self._news:
            self._came.append(item)
            self._news.notify_all()

    def next(self, fits: Callable[[T], bool] = lambda item: True, within: float = DEADLINE_S) -> T:
        """Wait for the first that fits and take it; the others stay. Raises AssertionError after `within` seconds."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = [index for index, item in enumerate(self._came) if fits(item)][:1]
            return bool(found)

        with self._news:
            assert self._news.wait_for(is_there, within), f"no such {self._what}; there came {self._came!r}"[:2000]
            return self._came.pop(found[0])

    def so_far(self) -> list[T]:
        """What came and was not taken."""
        with self._news:
            return list(self._came)

    def clear(self) -> None:
        with self._news:
            self._came.clear()
