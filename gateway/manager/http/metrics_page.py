"""/metrics: what the process counted, and what the database has, which is read at most so often, in a thread."""

import asyncio
from collections.abc import Callable

import structlog

from gateway.manager.errors import StoreUnavailable
from gateway.manager.http.responses import PageContent
from gateway.manager.metrics import CONTENT_TYPE, ManagerMetrics
from gateway.manager.store import Store
from gateway.manager.store.totals import read_totals

TOTALS_HOLD = 5.0
"""Seconds for which what was read is given again."""
PATIENCE = 2.0
"""Seconds after which a database that does not answer counts as away: Prometheus itself waits for 10."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class Reading:
    """`read` runs in a thread, once at a time, when `start` is called `hold` seconds after it last ended, or later."""

    def __init__(self, read: Callable[[], None], hold: float) -> None:
        self._read = read
        self._hold = hold
        self._next = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None] | None":
        """What runs now; None: what was read still holds."""
        if self._task is None and asyncio.get_running_loop().time() >= self._next:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(self._read)
        finally:
            self._next = asyncio.get_running_loop().time() + self._hold
            self._task = None


class MetricsPage:
    """It answers while the database is away too."""

    def __init__(self, metrics: ManagerMetrics, store: Store) -> None:
        self._metrics = metrics
        self._store = store
        self._totals = Reading(self._read_totals, TOTALS_HOLD)

    async def __call__(self) -> PageContent:
        if (reading := self._totals.start()) is not None:
            done, _ = await asyncio.wait([reading], timeout=PATIENCE)
            if not done:
                self._metrics.totals = None
        return PageContent(CONTENT_TYPE, await asyncio.to_thread(self._metrics.render))

    def _read_totals(self) -> None:
        try:
            self._metrics.totals = self._store.read(read_totals)
        except StoreUnavailable:
            self._metrics.totals = None  # /healthz and the calls log it
        except Exception:
            self._metrics.totals = None
            LOG.exception("the database could not be counted: /metrics says that it is away; please report it")
