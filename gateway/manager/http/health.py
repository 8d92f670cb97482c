"""/healthz and /readyz: whether the database can be used, asked of the database itself."""

import asyncio
import json
from collections.abc import Callable

from gateway.manager.http.responses import JSON, PageContent

HOLDS = 1.0
"""Seconds for which an answer of the database is given again."""
PATIENCE = 2.0
"""Seconds after which a database that does not answer counts as failing."""


class HealthPage:
    """`check` raises where the database cannot be used; it runs in a thread, once at a time. `on_failure` gets why."""

    def __init__(self, check: Callable[[], None], on_failure: Callable[[Exception], None]) -> None:
        self._check = check
        self._on_failure = on_failure
        self._valid_until = float("-inf")
        self._usable = True
        self._asking: asyncio.Task[None] | None = None
        self._late = float("inf")

    async def __call__(self) -> PageContent:
        """200 with {"status": "ok"}, or 503 with {"status": "failing"}."""
        loop = asyncio.get_running_loop()
        usable = self._usable
        if loop.time() >= self._valid_until:
            if self._asking is None:
                self._asking = loop.create_task(self._ask())
                self._late = loop.time() + PATIENCE
            answered, _ = await asyncio.wait([self._asking], timeout=max(0.0, self._late - loop.time()))
            usable = bool(answered) and self._usable
        body = json.dumps({"status": "ok" if usable else "failing"}, separators=(",", ":")).encode()
        return PageContent(JSON, body, 200 if usable else 503)

    async def _ask(self) -> None:
        try:
            await asyncio.to_thread(self._check)
            self._usable = True
        except Exception as error:
            self._usable = False
            self._on_failure(error)
        self._valid_until = asyncio.get_running_loop().time() + HOLDS
        self._asking = None
