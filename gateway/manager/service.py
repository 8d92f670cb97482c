"""The running service behind HTTP: groups of calls, each kind in a thread of its own, and the tasks in the background.

It must never call the store on the event loop's thread.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import repeat

from gateway.manager.alerts import ALERTS_INTERVAL, WEBHOOK_INTERVAL, AlertRunner, Webhook, WebhookConfig
from gateway.manager.background import Background, Task
from gateway.manager.control import ArnScope, Caller, ControlApi, JobRunner, OtherS3, StageStarts
from gateway.manager.errors import ApiError
from gateway.manager.groups import GroupThread
from gateway.manager.metrics import ManagerMetrics
from gateway.manager.operations import EdgeApi, Output, Question
from gateway.manager.rollouts import RolloutRunner
from gateway.manager.store import (
    Compaction,
    HeartbeatCall,
    HistoryLimits,
    ObjectStore,
    Retention,
    Store,
    Turn,
    Uploads,
    sweep_silence,
)

ROLLOUTS_INTERVAL = 1.0
"""Seconds between two checks for steps of rollouts that are due."""
LARGE = 64 * 1024
"""A body with more bytes is checked in a thread of its own, one at a time: meanwhile the loop answers others."""
CONTROL_THREADS = 2
"""Calls of the control plane at once: a slow list must not hold up the others."""
MOST_LARGE = 32
"""So many wait for that; further ones get 503."""
JOBS_INTERVAL = 1.0
"""Seconds between two searches for jobs."""
SILENCE_INTERVAL = 10.0
"""Seconds between two searches for devices that fell silent."""
COMPACTION_INTERVAL = 5.0
"""Seconds between two questions whether a walk of the compaction is due."""
KEPT = HistoryLimits()
RETENTION_INTERVAL = 60.0
"""Seconds between two searches for what is too old or too much."""
STEPS_FOLLOW = (
    "EdgeDeploymentStage",
    ".Deploy",
    ".Undeploy",
    ".ResumeDeployment",
    ".AbortDeployment",
    ".UndoDeployment",
)
"""Ends of the targets after which a step of a rollout may be due."""
UPLOADS_INTERVAL = 3600.0
"""Seconds between two searches for uploads that were given up."""


class Service:
    """Answers calls from `running` on, until its end."""

    def __init__(
        self, api: EdgeApi, control_api: ControlApi, metrics: ManagerMetrics, wake: Callable[..., None]
    ) -> None:
        self.api = api
        self._wake = wake
        self._control_api = control_api
        self._metrics = metrics
        self._records: GroupThread[HeartbeatCall, Output] = GroupThread("heartbeats", api.record, self._recorded)
        self._answers: GroupThread[Question, Output] = GroupThread("reads", api.answer, self._answered)
        self._fetches: GroupThread[Question, Output] = GroupThread("fetches", api.mark_fetched, self._answered)
        self._answers.following = self._fetches
        self._fetches.following = self._answers
        self._parser = ThreadPoolExecutor(1, "large bodies")
        self._controllers = ThreadPoolExecutor(CONTROL_THREADS, "control")
        self._large = 0
        metrics.waiting = {"heartbeats": self._records.waiting, "reads": self._answers.waiting}
        metrics.transaction_seconds = api.store.transaction_seconds

    def handle(self, operation: str, body: bytes, now: float) -> "asyncio.Future[Output]":
        """The output of one call that came at `now` (Unix seconds).

        Raises ApiError; so does the future, and StoreUnavailable.
        """
        if len(body) <= LARGE:
            return self._submit(self.api.parse(operation, body, now))
        if self._large >= MOST_LARGE:
            detail = "too many large requests wait"
            raise ApiError("ServiceUnavailableException", detail, 503, {"Retry-After": "1"})
        return asyncio.ensure_future(self._handle_large(operation, body, now))

    async def _handle_large(self, operation: str, body: bytes, now: float) -> Output:
        self._large += 1
        try:
            parsing = asyncio.get_running_loop().run_in_executor(self._parser, self.api.parse, operation, body, now)
            call = await parsing
        finally:
            self._large -= 1
        return await self._submit(call)

    def control(self, target: str, body: bytes, caller: Caller, now: float) -> asyncio.Future[bytes]:
        """The output of one call of the control plane that came at `now` (Unix seconds), as JSON.

        The future raises ApiError and StoreUnavailable.
        """
        return asyncio.get_running_loop().run_in_executor(
            self._controllers, self.control_here, target, body, caller, now
        )

    def control_here(self, target: str, body: bytes, caller: Caller, now: float) -> bytes:
        """As `control`, in the caller's thread, which is not the event loop's."""
        begun = time.perf_counter()
        output = self._control_api.handle(target, body, caller, now)
        if target.endswith(STEPS_FOLLOW):
            self._wake("plans", "rollouts")
        self._metrics.count_control(target.rpartition(".")[2], time.perf_counter() - begun)
        return output

    def _submit(self, call: HeartbeatCall | Question) -> "asyncio.Future[Output]":
        return self._records.submit(call) if isinstance(call, HeartbeatCall) else self._answers.submit(call)

    def _recorded(
        self, calls: Sequence[HeartbeatCall], came: Sequence[float], begun: float, outputs: Sequence[object]
    ) -> None:
        self._metrics.count_group("heartbeats", repeat("SendHeartbeat"), came, begun, outputs)

    def _answered(
        self, calls: Sequence[Question], came: Sequence[float], begun: float, outputs: Sequence[object]
    ) -> None:
        operations = ["GetDeployments" if each.deployments else "GetDeviceRegistration" for each in calls]
        self._metrics.count_group("reads", operations, came, begun, outputs)

    async def close(self) -> None:
        """Ends after the calls that wait."""
        self._parser.shutdown(wait=False)
        await asyncio.to_thread(self._controllers.shutdown)
        await self._records.close()
        await self._fetches.close()
        await self._answers.close()


@asynccontextmanager
async def running(
    store: Store,
    objects: ObjectStore,
    registered_ttl: int,
    unregistered_ttl: int,
    history: HistoryLimits = KEPT,
    metrics: ManagerMetrics | None = None,
    scope: ArnScope | None = None,
    other_s3: OtherS3 | None = None,
    webhook: WebhookConfig | None = None,
) -> AsyncIterator[Service]:
    """The service over an open store, which the caller closes. `metrics` None: nobody reads them. `other_s3`: of which
    jobs may take files. `webhook`: is told of alerts."""
    api, control_api = EdgeApi(store, registered_ttl, unregistered_ttl), ControlApi(store, objects, scope or ArnScope())
    jobs = JobRunner(store, objects, other_s3)
    tasks = [Task("uploads", UPLOADS_INTERVAL, Uploads(objects).sweep)]
    # In threads of their own: another S3, or a webhook, that does not answer must not hold up rollouts.
    job_thread = Background([Task("jobs", JOBS_INTERVAL, jobs.step)], says_away=False)
    webhook_thread = None
    if webhook is not None:
        task = Task("webhook", WEBHOOK_INTERVAL, Webhook(store, webhook).step)
        webhook_thread = Background([task], says_away=False)
    alerts = AlertRunner(store, lambda: None if webhook_thread is None else webhook_thread.wake("webhook"))
    tasks.append(Task("alerts", ALERTS_INTERVAL, alerts.step))
    background = Background(_tasks(store, history) + tasks)
    threads = [each for each in (background, job_thread, webhook_thread) if each is not None]
    service = Service(api, control_api, metrics or ManagerMetrics(), background.wake)
    for each in threads:
        each.start()
    try:
        yield service
    finally:
        for each in threads:
            await asyncio.to_thread(each.close)
        jobs.close()
        await service.close()


def _tasks(store: Store, history: HistoryLimits) -> list[Task]:
    runner = RolloutRunner(store)
    turn = Turn()
    return [
        Task("plans", ROLLOUTS_INTERVAL, StageStarts(store).step),
        Task("rollouts", ROLLOUTS_INTERVAL, runner.advance_all),
        Task("silence", SILENCE_INTERVAL, lambda now: sweep_silence(store, now)),
        Task("compaction", COMPACTION_INTERVAL, Compaction(store, turn, history.days).step),
        Task("retention", RETENTION_INTERVAL, Retention(store, turn, history).step),
    ]
