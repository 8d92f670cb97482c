"""For what gives no event when it happens: a file that another process writes, a metric, the end of another's child.

Whatever gives an event is awaited instead: see `arrivals`.
"""

import asyncio
import time
from collections.abc import Callable

from tests.support.arrivals import DEADLINE_S

POLL_S = 0.02


def until(holds: Callable[[], bool], otherwise: Callable[[], str], within: float = DEADLINE_S) -> None:
    """Return as soon as it holds. Raises AssertionError, with what `otherwise` says then, after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(POLL_S)


async def until_async(holds: Callable[[], bool]) -> None:
    """Likewise on an event loop, with what happens to a server's connections. Raises TimeoutError."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
