"""The live parts of pages: each page is made again for all who look at it together, and what changed is told to them.

On the event loop of the console alone. It must never make pages for more than a small share of the time, however many
look: devices are served by the same process.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

SOONEST = 1.0
"""Seconds between two messages of a page, at least."""
SHARE = 30.0
"""All live pages together are made in a thirtieth of the time, at most."""

LiveParts: TypeAlias = Mapping[str, str]
"""Name of a part -> its HTML."""

Key = TypeVar("Key", bound=Hashable)


@dataclass
class _LivePage:
    """`parts` with the number of the making that changed them. `takes`: seconds of the newest making."""

    number: int = 0
    parts: dict[str, tuple[int, str]] = field(default_factory=dict)
    takes: float = 0.0
    viewers: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    ended: bool = False
    task: asyncio.Task[None] | None = None


class LivePages(Generic[Key]):
    """`make`: makes the parts of a page, which its key names; None: the page is not there any more."""

    def __init__(self, make: Callable[[Key], Awaitable[LiveParts | None]]) -> None:
        self._make = make
        self._pages: dict[Key, _LivePage] = {}

    @asynccontextmanager
    async def watching(self, key: Key) -> AsyncIterator["PageWatch"]:
        page = self._pages.get(key)
        if page is None or page.ended:
            page = self._pages[key] = _LivePage()
            page.task = asyncio.create_task(self._keep(key, page))
        page.viewers += 1
        try:
            yield PageWatch(page)
        finally:
            page.viewers -= 1
            if not page.viewers:
                if self._pages.get(key) is page:
                    del self._pages[key]
                if page.task is not None:
                    page.task.cancel()

    async def _keep(self, key: Key, page: _LivePage) -> None:
        while True:
            began = time.monotonic()
            parts = await self._make(key)
            page.takes = time.monotonic() - began
            async with page.changed:
                page.ended = parts is None
                changed = {
                    name: text for name, text in (parts or {}).items() if page.parts.get(name, (0, ""))[1] != text
                }
                if changed:
                    page.number += 1
                    page.parts |= {name: (page.number, text) for name, text in changed.items()}
                if changed or page.ended:
                    page.changed.notify_all()
            if page.ended:
                return
            await asyncio.sleep(max(SOONEST, SHARE * sum(each.takes for each in self._pages.values())))


class PageWatch:
    """What one viewer of a page was sent."""

    def __init__(self, page: _LivePage) -> None:
        self._page = page
        self._sent = 0

    async def changes(self) -> LiveParts | None:
        """Waits for parts that changed since the last call, all of them at first; None: the page has ended."""
        page = self._page
        async with page.changed:
            await page.changed.wait_for(lambda: page.number > self._sent or page.ended)
            found = {name: text for name, (number, text) in page.parts.items() if number > self._sent}
            self._sent = page.number
        return found or None
