"""The running service behind HTTP: groups of calls, each kind in a thread of its own, and the tasks in the background.

It must never call the store on the event loop's thread.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.manager.background import Background, Task
from gateway.manager.groups import GroupThread
from gateway.manager.operations import EdgeApi, Output, Question
from gateway.manager.rollouts import RolloutRunner
from gateway.manager.store import Compaction, HeartbeatCall, HistoryLimits, Retention, Store, Turn, sweep_silence

ROLLOUTS_INTERVAL = 1.0
"""Seconds between two checks for steps of rollouts that are due."""
SILENCE_INTERVAL = 10.0
"""Seconds between two searches for devices that fell silent."""
COMPACTION_INTERVAL = 5.0
"""Seconds between two questions whether a walk of the compaction is due."""
KEPT = HistoryLimits()
RETENTION_INTERVAL = 60.0
"""Seconds between two searches for what is too old or too much."""


class Service:
    """Answers calls from `running` on, until its end."""

    def __init__(self, api: EdgeApi) -> None:
        self.api = api
        self._records: GroupThread[HeartbeatCall, Output] = GroupThread("heartbeats", api.record)
        self._answers: GroupThread[Question, Output] = GroupThread("reads", api.answer)

    def handle(self, operation: str, body: bytes, now: float) -> "asyncio.Future[Output]":
        """The output of one call that came at `now` (Unix seconds). Raises ApiError; so does the future, and
        StoreUnavailable."""
        call = self.api.parse(operation, body, now)
        return self._records.submit(call) if isinstance(call, HeartbeatCall) else self._answers.submit(call)

    async def close(self) -> None:
        """Ends after the calls that wait."""
        await self._records.close()
        await self._answers.close()


@asynccontextmanager
async def running(
    store: Store, registered_ttl: int, unregistered_ttl: int, history: HistoryLimits = KEPT
) -> AsyncIterator[Service]:
    """The service over an open store, which the caller closes."""
    service = Service(EdgeApi(store, registered_ttl, unregistered_ttl))
    background = Background(_tasks(store, history))
    background.start()
    try:
        yield service
    finally:
        await asyncio.to_thread(background.close)
        await service.close()


def _tasks(store: Store, history: HistoryLimits) -> list[Task]:
    runner = RolloutRunner(store)
    turn = Turn()
    return [
        Task("rollouts", ROLLOUTS_INTERVAL, runner.advance_all),
        Task("silence", SILENCE_INTERVAL, lambda now: sweep_silence(store, now)),
        Task("compaction", COMPACTION_INTERVAL, Compaction(store, turn, history.days).step),
        Task("retention", RETENTION_INTERVAL, Retention(store, turn, history).step),
    ]
