"""Executes the effects of the core in their order, and passes the answers of the service to the core.

Must never decide anything: what a message or an answer means is the core's.
"""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import structlog

from gateway import protocol
from gateway.cloud import EdgeManagerClient
from gateway.core import (
    REFUSED_FOR,
    SUSPECTED_FOR,
    Acknowledge,
    CallService,
    DeadLetter,
    DeleteRetained,
    Effect,
    Engine,
    FetchRetainedHello,
    PublishAck,
    PublishPlan,
    ReportClock,
    SaveHellos,
    SaveRegistration,
    SendBlocks,
)
from gateway.errors import FileError
from gateway.files import BlockSender, ModelFileStore, ReadQueue
from gateway.mqtt import CLOSED, FAILURE, Delivery, MqttSession, explain
from gateway.ops import Metrics
from gateway.pipeline import clock
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.hellos import HelloWriter, RetainedHelloReader
from gateway.pipeline.publisher import PublishBarrier, Publisher
from gateway.storage import StateStore

_log = structlog.get_logger()


class Dispatcher:
    """`hello_wait` and `block_expiry` in seconds (0: blocks do not expire)."""

    def __init__(
        self,
        engine: Engine,
        topics: protocol.Topics,
        store: StateStore,
        metrics: Metrics,
        limit: InFlightLimit,
        hello_wait: float,
        block_expiry: int,
    ) -> None:
        self._engine, self._topics, self._store = engine, topics, store
        self._metrics, self._limit = metrics, limit
        self._hello_wait, self._block_expiry = hello_wait, block_expiry
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0
        self._changed = asyncio.Event()

    def start(self, session: MqttSession, client: EdgeManagerClient, models: ModelFileStore) -> None:
        """Before the first message: restore the hellos of the last run."""
        self._session, self._client, self._models = session, client, models
        self._publisher = Publisher(
            session, self._topics, self._store, self._metrics, self._changed.set, self._on_plan_confirmed
        )
        self._block_sender = BlockSender(
            partial(session.publish, expiry=self._block_expiry),
            self._loop.call_later,
            self._metrics.blocks_published.inc,
            on_refused=self._metrics.publications_refused.inc,
        )
        self._reads = ReadQueue(models, self._block_sender)
        self._hello_writer = HelloWriter(self._store, self._engine.hellos)
        self._hello_reader = RetainedHelloReader(
            self._engine, self._topics, session, self._hello_wait, self.execute, self._start_task
        )
        for device, records in self._store.hellos():
            self._engine.restore_hellos(self._topics.device(device.fleet, device.name), records)
        for device, since in self._store.registrations():
            self._engine.restore_registration(self._topics.device(device.fleet, device.name), since)
        self._hello_writer.start()
        client.bind(
            lambda device: self.execute(self._engine.retry_due(device, clock.now())),
            lambda limit: self.execute(self._engine.set_concurrency(limit, clock.now())),
        )
        self._metrics.devices.set_function(lambda: self._engine.devices)
        self._metrics.devices_waiting.set_function(lambda: self._engine.waiting_devices)

    def stop(self) -> None:
        """No effect from now on."""
        self._engine.stop()
        self._hello_reader.stop()
        self._reads.close()
        for task in self._tasks:
            task.cancel()

    async def wait_idle(self, for_hellos: bool = False) -> None:
        """Wait until no call and no publication is in flight; `for_hellos`: and no message waits for a hello."""
        while (
            self._calls
            or self._publisher.unconfirmed
            or (for_hellos and (self._hello_writer.pending or self._engine.deadline()))
        ):
            self._changed.clear()
            await self._changed.wait()

    def check_clock(self) -> None:
        """As Engine.check_clock."""
        self.execute(self._engine.check_clock(clock.now()))

    def check_registrations(self, most: int) -> None:
        """As Engine.check_registrations."""
        self.execute(self._engine.check_registrations(clock.now(), most))

    def end_hello_waits(self, under_pressure: bool) -> None:
        """As Engine.tick."""
        self._hello_reader.end_waits(under_pressure)

    def execute(self, effects: list[Effect]) -> None:
        """In their order; an acknowledgement waits for the confirmation of what is before it."""
        barrier: PublishBarrier | None = None  # of most lists nothing is to be confirmed
        for effect in effects:
            if isinstance(effect, CallService):
                self._calls += 1
                self._block_sender.yield_to_traffic()
                self._client.call(effect.call, partial(self._on_outcome, effect.call))
            elif isinstance(effect, Acknowledge):
                delivery = cast("Delivery", effect.delivery)
                if barrier is None or not barrier.pending:
                    self._acknowledge(delivery)
                else:
                    barrier.when_done(partial(self._acknowledge, delivery))
            else:
                barrier = barrier or PublishBarrier()
                self._execute_other(effect, barrier)

    def _execute_other(self, effect: Effect, barrier: PublishBarrier) -> None:
        match effect:
            case PublishAck():
                self._publisher.publish_ack(effect, barrier)
            case DeadLetter():
                self._publisher.dead_letter(effect, barrier)
            case PublishPlan():
                self._publisher.publish_plan(effect, barrier)
            case SaveHellos():
                self._hello_writer.save(effect, barrier)
            case DeleteRetained():
                self._publisher.delete_retained(effect, barrier)
            case SaveRegistration():
                self._hello_writer.save_registration(effect)
            case FetchRetainedHello(device):
                self._hello_reader.fetch(device)
            case SendBlocks():
                self._send_blocks(effect)
            case ReportClock():
                _report_clock(effect)

    def _acknowledge(self, delivery: Delivery) -> None:
        size = delivery.size
        self._session.ack(delivery)
        self._metrics.acknowledged.value += 1
        self._limit.release(size)
        self._changed.set()

    def _send_blocks(self, effect: SendBlocks) -> None:
        def unavailable(error: FileError) -> None:
            self.execute(self._engine.file_unavailable(effect.device, effect.delivery, error, clock.now()))

        topic = protocol.topic_for_same_device(cast("Delivery", effect.delivery).topic, protocol.Channel.BLOCK)
        self._reads.send(topic, effect.file, effect.read, unavailable)

    def _on_plan_confirmed(self, plan: PublishPlan, reason: int) -> None:
        if reason >= FAILURE:
            self.execute(self._engine.plan_refused(plan, explain(reason), plan_rest(reason), clock.now()))
        else:
            self.execute(self._engine.plan_published(plan, clock.now()))

    # Calls

    def _on_outcome(self, call: protocol.Call, outcome: protocol.Outcome[Any]) -> None:
        if isinstance(outcome, protocol.Accepted) and isinstance(outcome.answer, tuple):
            self._start_task(self._resolve_plan(call, outcome.answer))
        else:
            self._resolve(call, outcome)

    async def _resolve_plan(self, call: protocol.Call, deployments: tuple[protocol.Deployment, ...]) -> None:
        """The deployments become a plan, with the sizes of their files."""
        outcome: protocol.Outcome[Any]
        try:
            sizes = await self._models.sizes(file for file in protocol.model_files(deployments) if file is not None)
            outcome = protocol.Accepted(protocol.encode_plan(deployments, sizes))
        except Exception as error:  # whatever it is: the device's next call waits for this outcome
            outcome = protocol.Rejected(f"the service's plan cannot be encoded: {error}")
        self._resolve(call, outcome)

    def _resolve(self, call: protocol.Call, outcome: protocol.Outcome[Any]) -> None:
        self._calls -= 1
        self.execute(self._engine.resolve(call.device, outcome, clock.now()))
        self._changed.set()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("internal error: please report this traceback", exc_info=task.exception())


def plan_rest(reason: int) -> float:
    """Seconds for which a plan that the broker did not take is not published again; 0: by its own time."""
    if not reason & CLOSED:
        return 0.0
    return SUSPECTED_FOR if reason == CLOSED else REFUSED_FOR


def _report_clock(report: ReportClock) -> None:
    if report.wrong:
        wrong = (
            "the clock of this machine is wrong; messages wait at the broker until it is set; check NTP and its battery"
        )
        _log.error(wrong, time=datetime.fromtimestamp(time.time(), UTC).isoformat())
    elif report.step:
        was_set = "the clock of this machine was set; the dates of devices without a clock follow it"
        _log.warning(was_set, seconds=report.step, waited=report.held)
    else:
        _log.info("the clock of this machine is right; messages that waited for it are dated", waited=report.held)
