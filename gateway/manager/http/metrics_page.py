"""/metrics: what the process counted, and what the database has, which is read at most so often, in a thread."""

import asyncio
from collections.abc import Callable

import structlog

from gateway.manager.errors import StoreUnavailable
from gateway.manager.http.responses import PageContent
from gateway.manager.metrics import CONTENT_TYPE, ManagerMetrics
from gateway.manager.store import Store
from gateway.manager.store.totals import read_models, read_totals

TOTALS_HOLD = 5.0
MODELS_HOLD = 60.0
"""Seconds for which what was read is given again."""
MODELS_REST = 10
"""So many times the duration of a reading passes until the next one, where that is longer."""
PATIENCE = 2.0
"""Seconds after which a database that does not answer counts as away: Prometheus itself waits for 10."""

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class Reading:
    """`read` runs in a thread, once at a time, when `start` is called `hold` seconds after it last ended, or later.

    `rest`: so many times its duration pass at least.
    """

    def __init__(self, read: Callable[[], None], hold: float, rest: float = 0.0) -> None:
        self._read = read
        self._hold = hold
        self._rest = rest
        self._next = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> "asyncio.Task[None] | None":
        """What runs now; None: what was read still holds."""
        if self._task is None and asyncio.get_running_loop().time() >= self._next:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def _run(self) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(self._read)
        finally:
            ended = asyncio.get_running_loop().time()
            self._next = ended + max(self._hold, self._rest * (ended - begun))
            self._task = None


class MetricsPage:
    """It answers while the database is away too. Devices by model are those of the scrape before."""

    def __init__(self, metrics: ManagerMetrics, store: Store) -> None:
        self._metrics = metrics
        self._store = store
        self._totals = Reading(self._read_totals, TOTALS_HOLD)
        self._models = Reading(self._read_models, MODELS_HOLD, MODELS_REST)

    async def __call__(self) -> PageContent:
        if (reading := self._totals.start()) is not None:
            done, _ = await asyncio.wait([reading], timeout=PATIENCE)
            if not done:
                self._metrics.totals = None
        if self._metrics.totals is not None:
            self._models.start()
        return PageContent(CONTENT_TYPE, await asyncio.to_thread(self._metrics.render))

    def _read_totals(self) -> None:
        try:
            self._metrics.totals = self._store.read(read_totals)
        except StoreUnavailable:
            self._metrics.totals = None  # /healthz and the calls log it
        except Exception:
            self._metrics.totals = None
            LOG.exception("the database could not be counted: /metrics says that it is away; please report it")

    def _read_models(self) -> None:
        try:
            self._metrics.models = self._store.read(read_models)
        except StoreUnavailable as error:
            LOG.warning("devices by model could not be counted: /metrics has the last numbers", detail=str(error))
        except Exception:
            LOG.exception("devices by model could not be counted: /metrics has the last numbers; please report it")
