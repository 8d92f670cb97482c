"""MQTT messages -> the core: decoded, within the rate of their device, or rejected. Must never decide what they mean.

Nothing here may raise into a callback of the MQTT session: a bad message never stops the next one.
"""

import asyncio
import time

import structlog

from gateway.clock import monotonic
from gateway.cloud import EdgeManagerClient
from gateway.core import Acknowledge, DeadLetter, Effect, Engine
from gateway.errors import DecodeError, LimitError, MessageError, RateError
from gateway.mqtt import BrokerLimits, Delivery, MqttSession
from gateway.ops import Metrics
from gateway.pipeline import clock
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.dispatcher import Dispatcher
from gateway.pipeline.rate_limiter import READ_SHARE, DeviceRateLimiter, Sender, counted_size
from gateway.pipeline.rejections import RejectionCounter, Report
from gateway.pipeline.session_watch import SessionWatch
from gateway.protocol import DECODERS, Channel, Device, Instant, Topics, peek_seq
from gateway.storage import StateStore

_SEQ_POSITION = {Channel.HEARTBEAT: 6, Channel.GET: 1}
CHECK_EVERY = 0.5
"""Seconds between two checks whether messages of a few devices block all others, and of what is to be reported."""
CHECKED_AT_ONCE = 5
"""Registrations that are asked for together, of devices that send nothing: 10 calls a second at most."""
HEAD_BYTES = 256
"""Of a payload over `max_payload`, that are kept for its dead letter."""

_log = structlog.get_logger()


class InboundHandler:
    """The handler of the MQTT session. `max_payload` in bytes."""

    def __init__(
        self,
        engine: Engine,
        dispatcher: Dispatcher,
        topics: Topics,
        store: StateStore,
        metrics: Metrics,
        limit: InFlightLimit,
        rates: DeviceRateLimiter,
        max_payload: int,
        watch: SessionWatch,
    ) -> None:
        self._engine, self._dispatcher, self._topics = engine, dispatcher, topics
        self._store, self._metrics = store, metrics
        self._limit, self._rates, self._max_payload = limit, rates, max_payload
        self._rejections = RejectionCounter(metrics)
        self._watch = watch
        self._stopped = self._drains = False

    def start(self, session: MqttSession, client: EdgeManagerClient) -> None:
        """Before the first connection."""
        self._session, self._client = session, client
        self._limit.start(session)
        self._rejections.start(session)
        self._downtime = self._store.downtime()
        self._check_blocked()

    def stop_reading(self) -> None:
        """Read nothing more, and report at once what was rejected and not reported yet."""
        self._limit.stop()
        self._drains = True
        self._report_due(clock.now(), float("inf"))

    def stop(self) -> None:
        """Take nothing from now on: what still comes, the broker will deliver again."""
        self._stopped = True
        self._timer.cancel()

    def connected(self, connection: int, session_present: bool) -> None:
        self._limit.connected()
        self._watch.connected(session_present, self._session.limits.session_expiry)
        now = clock.now()
        if session_present:
            self._rates.allow_backlog(self._downtime if connection == 1 else now.mono - self._checked_at, now.mono)
        self._dispatcher.execute(self._engine.reconnected(connection, session_present, now))
        if not self._engine.clock_is_wrong:
            self._watch.record()

    def may_publish(self, limits: BrokerLimits) -> None:
        self._engine.set_room(self._topics.room(limits.publication_room))

    def delivered(self, delivery: Delivery) -> None:
        """A message: accepted or rejected, never lost."""
        if self._stopped:
            return
        size = len(delivery.payload)
        self._limit.acquire(size)
        if size > self._max_payload:
            delivery.cut(HEAD_BYTES)
        now = Instant(time.time(), monotonic())
        # What the gateway fetched, and what the broker delivers again, does not count against the device.
        counts = delivery.connection and not delivery.redelivered
        device = channel = None
        try:
            device, channel = self._topics.parse(delivery.topic)
            self._metrics.received[channel].value += 1
            share = READ_SHARE if channel is Channel.READ else 1.0
            if counts and not self._rates.allow(device, size, now.mono, share):
                effects = self._over_rate(device, delivery, now, channel, share)
            elif size > self._max_payload:
                raise DecodeError(f"{size} bytes, the gateway takes {self._max_payload}")
            else:
                message = DECODERS[channel](delivery.payload)
                if message is None:
                    effects = [Acknowledge(delivery)]
                else:
                    effects = self._engine.receive(device, message, delivery, now)
        except MessageError as error:
            if channel is Channel.HELLO:
                error.detail = f"hello: {error.detail.removeprefix('hello: ')}"
            sender = device or delivery.topic.rpartition("/")[0]
            if counts and device is None and not self._rates.allow(sender, size, now.mono):
                effects = self._over_rate(sender, delivery, now)
            elif size > self._max_payload:
                effects = self._counted(sender, delivery, error, now)
            else:
                effects = self._engine.reject(delivery, error, now, device)
        except Exception as error:
            event = "internal error: message rejected; report this traceback with the dead letter"
            _log.exception(event, topic=delivery.topic)
            effects = self._engine.reject(delivery, LimitError(f"the gateway failed on it: {error!r}"), now, None)
        if channel is Channel.READ and device and any(isinstance(each, DeadLetter) for each in effects):
            self._rates.charge(device, now.mono, 1.0 - READ_SHARE)  # an error costs more than a read
        self._dispatcher.execute(effects)

    def _over_rate(
        self, sender: Sender, delivery: Delivery, now: Instant, channel: Channel | None = None, share: float = 1.0
    ) -> list[Effect]:
        self._metrics.rate_limited.inc()
        seq = None if channel not in _SEQ_POSITION else peek_seq(delivery.payload, _SEQ_POSITION[channel])
        error = RateError("more than device_rate and device_burst allow: send it again later, and less", seq)
        effects = self._counted(sender, delivery, error, now)
        if effects == [Acknowledge(delivery)]:  # nothing is reported: what is like it need not be read
            until = self._rates.allowed_at(sender, delivery.size, share)
            self._rejections.reject_unread(sender, error.code, delivery.topic, until, counted_size(delivery.size))
        return effects

    def _counted(self, sender: Sender, delivery: Delivery, error: MessageError, now: Instant) -> list[Effect]:
        """Rejected and reported together with what is like it; while the clock is wrong, by itself once it is right."""
        if self._engine.clock_is_wrong:
            return self._engine.reject(delivery, error, now, _device(sender))
        report = self._rejections.add(sender, delivery, error, now.mono)
        effects: list[Effect] = [] if report is None else self._report(report, now)
        effects.append(Acknowledge(delivery))
        return effects

    def _report(self, report: Report, now: Instant) -> list[Effect]:
        return self._engine.report(report.delivery, report.error, now, _device(report.sender), report.count)

    def _report_due(self, now: Instant, until: float) -> None:
        """`until`: as RejectionCounter.due."""
        for report in self._rejections.due(until):
            self._dispatcher.execute(self._report(report, now))

    def _check_blocked(self) -> None:
        """Where all messages wait behind a few, end the waits of these: for hellos, and for calls that fail alone."""
        self._timer = asyncio.get_running_loop().call_later(CHECK_EVERY, self._check_blocked)
        self._checked_at = monotonic()
        self._dispatcher.check_clock()
        if not self._engine.clock_is_wrong:  # what follows keeps or says what time it is
            self._store.touch_liveness()
            self._watch.record()
            if self._session.receiving:
                self._watch.receiving()
                if not self._drains:
                    self._dispatcher.check_registrations(CHECKED_AT_ONCE)
            self._report_due(Instant(time.time(), self._checked_at), self._checked_at)
        blocking = self._session.blocking_deliveries()
        if blocking or self._limit.full:
            self._dispatcher.end_hello_waits(under_pressure=True)
        if blocking and self._limit.below_half:
            for device in self._topics.devices_of(delivery.topic for delivery in blocking):
                self._client.retry_now(device)


def _device(sender: Sender) -> Device | None:
    return sender if isinstance(sender, Device) else None
