"""The steward: hands what the doors bring to the core, and carries the core's effects out in their order.

Does no thinking of its own: what a message means the core decides, what bytes mean the codec. Nothing here may raise
into a callback of the broker: a poison message never stops the next one.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol, cast

import structlog

from gateway.core.effects import (
    Acknowledge,
    CallService,
    DeadLetter,
    Effect,
    FetchRetainedHello,
    PublishAck,
    PublishPlan,
    SaveHellos,
    SendBlocks,
)
from gateway.core.engine import Engine, Message
from gateway.errors import DecodeError, FileError, LimitError, MessageError, RateError
from gateway.files.block_sender import BlockSender
from gateway.files.downloads import ReadQueue
from gateway.files.fetcher import ModelFileStore
from gateway.mqtt.session import Delivery, MqttSession
from gateway.ops.metrics import Metrics
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.confirmations import PublishBarrier
from gateway.pipeline.hello_writer import HelloWriter
from gateway.pipeline.publisher import Publisher
from gateway.pipeline.rate_limiter import READ, DeviceRateLimiter
from gateway.protocol import codec
from gateway.protocol.messages import Device, Instant
from gateway.protocol.service_calls import Accepted, Call, Deployment, Outcome, Rejected
from gateway.protocol.topics import Channel, Topics, sibling
from gateway.storage.state_store import StateStore

_log = structlog.get_logger()

_DECODERS: dict[Channel, Callable[[bytes], Message | None]] = {
    Channel.HELLO: codec.hello,
    Channel.HEARTBEAT: codec.heartbeat,
    Channel.GET: codec.get,
    Channel.READ: codec.read,
}
_SEQ_AT = {Channel.HEARTBEAT: 6, Channel.GET: 1}
LOOK = 0.5
"""Seconds between two looks at whether all wait behind a few."""


class ServiceClient(Protocol):
    """The garden door, as far as the steward uses it."""

    def bind(self, on_retry_due: Callable[[Device], None], set_concurrency: Callable[[int], None]) -> None:
        """`on_retry_due` gets a device whose call is due again, `set_concurrency` how many calls may be in flight."""

    def call(self, call: Call, then: Callable[[Outcome[Any]], None]) -> None:
        """Make a call; `then` gets its outcome."""

    def retry_now(self, device: Device) -> None:
        """All others wait for this device: if its call failed, it is due now."""


class Dispatcher:
    """Between the doors. `max_payload` in bytes; `hello_wait` in seconds."""

    def __init__(
        self,
        core: Engine,
        topics: Topics,
        store: StateStore,
        metrics: Metrics,
        intake: InFlightLimit,
        rates: DeviceRateLimiter,
        max_payload: int,
        hello_wait: float,
    ) -> None:
        self._core = core
        self._topics = topics
        self._store = store
        self._metrics = metrics
        self._intake = intake
        self._rates = rates
        self._max_payload = max_payload
        self._hello_wait = hello_wait
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = 0
        self._hellos_to_read: list[Device] = []
        self._memory = HelloWriter(store)
        self._alarm: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    def begin(self, broker: MqttSession, cloud: ServiceClient, models: ModelFileStore) -> None:
        """The doors stand: remember what an earlier life knew."""
        self._broker, self._cloud, self._models = broker, cloud, models
        self._letters = Publisher(broker, self._topics, self._store, self._metrics, self._changed.set)
        self._downloads = ReadQueue(models, BlockSender(broker.publish, self._loop.call_later))
        for device, records in self._store.hellos():
            self._core.recall(self._topics.device(device.fleet, device.name), records)
        cloud.bind(self._again, self._widen)
        self._intake.begin(broker)
        self._was_away = self._store.away()
        self._look()
        self._metrics.devices.set_function(lambda: self._core.devices)
        self._metrics.devices_waiting.set_function(lambda: self._core.in_line)

    def end(self) -> None:
        """No effect from now on."""
        self._core.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        self._looking.cancel()
        self._downloads.close()
        for task in self._tasks:
            task.cancel()

    # What the broker tells

    def connected(self, connection: int, resumed: bool) -> None:
        """The ear's connection stands."""
        self._intake.connected()
        if resumed:
            self._rates.were_away(self._away(connection), time.monotonic())
        self._carry_out(self._core.reconnected(connection, resumed))

    def _away(self, connection: int) -> float:
        """Seconds for which the broker had nobody to deliver to, at most."""
        return self._was_away if connection == 1 else time.monotonic() - self._looked

    def delivered(self, delivery: Delivery) -> None:
        """A message: understood or refused, never lost."""
        self._intake.took(len(delivery.payload))
        device = None
        try:
            device, channel = self._topics.parse(delivery.topic)
            effects = self._understood(delivery, device, channel)
        except MessageError as error:
            effects = self._core.refuse(delivery, error, _now(), device)
        except Exception as error:
            _log.exception("a fault of the gateway: please report it with the payload on dead", topic=delivery.topic)
            effects = self._core.refuse(delivery, LimitError(f"the gateway failed on it: {error!r}"), _now())
        self._carry_out(effects)

    def _understood(self, delivery: Delivery, device: Device, channel: Channel) -> list[Effect]:
        self._metrics.received[channel].inc()
        now = _now()
        try:
            if len(delivery.payload) > self._max_payload:
                raise DecodeError(f"{len(delivery.payload)} bytes, the gateway takes {self._max_payload}")
            if not self._within_rate(delivery, device, channel, now):
                return self._too_much(delivery, device, channel, now)
            message = _DECODERS[channel](delivery.payload)
        except MessageError as error:
            if channel is Channel.HELLO:
                error.detail = f"hello: {error.detail.removeprefix('hello: ')}"
            raise
        if message is None:
            return [Acknowledge(delivery)]
        return self._core.receive(device, message, delivery, now)

    def _within_rate(self, delivery: Delivery, device: Device, channel: Channel, now: Instant) -> bool:
        """What the gateway asked for, and what the broker delivers again, is not the device's doing."""
        if not delivery.connection or delivery.redelivered:
            return True
        return self._rates.admits(device, len(delivery.payload), now.mono, READ if channel is Channel.READ else 1.0)

    def _too_much(self, delivery: Delivery, device: Device, channel: Channel, now: Instant) -> list[Effect]:
        self._metrics.rate_limited.inc()
        seq = codec.seq(delivery.payload, _SEQ_AT[channel]) if channel in _SEQ_AT else None
        error = RateError("more than device_rate and device_burst allow: send it again later, and less", seq)
        told = seq is not None or self._rates.tells(device, now.mono)
        return self._core.refuse(delivery, error, now, device, told)

    # Effects

    def _carry_out(self, effects: list[Effect]) -> None:
        confirmations = PublishBarrier()
        for effect in effects:
            match effect:
                case CallService(call):
                    self._asking += 1
                    self._downloads.make_way()
                    self._cloud.call(call, partial(self._answered, call))
                case Acknowledge():
                    delivery = cast("Delivery", effect.ticket)
                    confirmations.then(lambda delivery=delivery: self._settle(delivery))  # type: ignore[misc]
                case PublishAck():
                    self._letters.reply(effect, confirmations)
                case DeadLetter():
                    self._letters.bury(effect, confirmations)
                case PublishPlan():
                    self._letters.plan(effect, confirmations)
                case SendBlocks():
                    self._send_blocks(effect)
                case FetchRetainedHello(device):
                    self._read_hello(device)
                case SaveHellos():
                    self._memory.keep(effect, confirmations)

    def _settle(self, delivery: Delivery) -> None:
        self._broker.ack(delivery)
        self._metrics.acknowledged.inc()
        self._intake.settled(len(delivery.payload))
        self._changed.set()

    def _send_blocks(self, effect: SendBlocks) -> None:
        delivery = cast("Delivery", effect.ticket)

        def unreadable(fault: FileError) -> None:
            self._carry_out(self._core.unreadable(effect.device, effect.ticket, fault.code, fault.detail, _now()))

        self._downloads.send(sibling(delivery.topic, Channel.BLOCK), effect.file, effect.read, unreadable)

    # Calls

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a fault of the gateway: please report it", exc_info=task.exception())

    async def quiet(self, patient: bool = False) -> None:
        """Wait until no call and no letter is under way; `patient`: and no message waits for what is sure to come."""
        while (
            self._asking or self._letters.under_way or (patient and (self._memory.under_way or self._core.deadline()))
        ):
            self._changed.clear()
            await self._changed.wait()

    def _answered(self, call: Call, outcome: Outcome[Any]) -> None:
        if isinstance(outcome, Accepted) and isinstance(outcome.answer, tuple):
            self._start(self._plan(call, outcome.answer))
        else:
            self._resolve(call, outcome)

    async def _plan(self, call: Call, deployments: tuple[Deployment, ...]) -> None:
        outcome: Outcome[Any]
        try:
            sizes = await self._models.sizes(codec.model_files(deployments))
            outcome = Accepted(codec.plan(deployments, sizes))
        except Exception as error:  # whatever it is: the device's next call waits for this outcome
            outcome = Rejected(f"the service's plan cannot be told: {error}")
        self._resolve(call, outcome)

    def _resolve(self, call: Call, outcome: Outcome[Any]) -> None:
        self._asking -= 1
        self._carry_out(self._core.resolve(call.device, outcome, _now()))
        self._changed.set()

    def _again(self, device: Device) -> None:
        self._carry_out(self._core.again(device, _now()))

    def _widen(self, window: int) -> None:
        self._carry_out(self._core.widen(window, _now()))

    def _look(self) -> None:
        """Where all wait behind a few, these come to their end: waits for hellos, and calls that fail alone."""
        self._looking = self._loop.call_later(LOOK, self._look)
        self._looked = time.monotonic()
        self._store.lives()
        blocking = self._broker.blocking_deliveries()
        if blocking or self._intake.full:
            self._carry_out(self._core.tick(_now(), pressed=True))
            self._set_alarm()
        if blocking and self._intake.mostly_settled:
            for device in self._topics.devices(delivery.topic for delivery in blocking):
                self._cloud.retry_now(device)

    # Hellos

    def _read_hello(self, device: Device) -> None:
        if not self._hellos_to_read:
            self._loop.call_soon(lambda: self._start(self._read_hellos()))
        self._hellos_to_read.append(device)

    async def _read_hellos(self) -> None:
        devices, self._hellos_to_read = self._hellos_to_read, []
        topics = [self._topics.format(device, Channel.HELLO) for device in devices]

        def confirmed() -> None:
            for device in devices:
                self._core.hello_asked(device, _now())
            self._set_alarm()

        await self._broker.read_retained(topics, confirmed, self._hello_wait)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        deadline = self._core.deadline()
        self._alarm = None if deadline is None else self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._carry_out(self._core.tick(_now()))
        self._set_alarm()


def _now() -> Instant:
    return Instant(time.time(), time.monotonic())
