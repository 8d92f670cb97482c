"""The gateway's MQTT session: two connections to the broker. Handles topics and bytes alone.

The subscriber connection has the persistent session, and can stop reading (back-pressure). The publisher connection
publishes and reads retained messages, so that a PUBACK or hello that a message waits for never waits behind unread
messages. PUBACKs must never leave in another order than their PUBLISHes came.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerClosed, BrokerError
from gateway.mqtt import packets, reasons
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint, OnPuback
from gateway.mqtt.limits import BrokerLimits
from gateway.mqtt.packets import Publish, RejectedTopic

SHARED = "$share/"
"""MQTT 5: the beginning of the filter of a shared subscription."""
CLOSED_ALLOWED = 2
"""Connections that the broker may end instead of an answer to one subscription, before that is given up; without a
reason one more."""
PUBLISHER_SUFFIX = "-mouth"
"""Of the publisher's client id. Brokers in use know the gateway by this id, so it must not change."""

_NEW_ONLY = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
_RETAINED_IF_NEW = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
_RETAINED_NOW = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)


@dataclass(slots=True, eq=False)
class Delivery:
    """A received message, and the token to acknowledge it by. `connection`: the number of the subscriber's connection,
    from 1; 0: it came on the publisher's, and needs no PUBACK. `redelivered`: the broker has sent it before."""

    topic: str
    payload: bytes
    connection: int
    packet_id: int
    qos: int
    redelivered: bool = False
    acknowledged: bool = False
    uncut_size: int = 0
    """Bytes of the payload before `cut`; 0: it is whole."""
    rejected: bytearray | None = None
    """PUBACKs of the messages after it that were rejected unread: they leave after its own."""

    @property
    def size(self) -> int:
        """Bytes of the payload as it came."""
        return self.uncut_size or len(self.payload)

    def cut(self, size: int) -> None:
        """Keep only the first `size` bytes of the payload."""
        self.uncut_size, self.payload = self.size, self.payload[:size]


class SessionHandler(Protocol):
    """Called by the session. It must not raise."""

    def connected(self, connection: int, session_present: bool) -> None:
        """The subscriber is connected; `session_present`: the broker kept the session. Its messages follow."""

    def may_publish(self, limits: BrokerLimits) -> None:
        """The publisher is connected; from now on its publications must keep to `limits`."""

    def delivered(self, delivery: Delivery) -> None:
        """A message was received."""


class MqttSession:
    """Opens the two connections, as often as needed, and keeps the order of the PUBACKs.

    `retained_filters`: a new session receives their retained messages too, first of all.
    `previous_filters`: subscriptions of earlier runs; those that are not in `filters` are unsubscribed.
    `optional`: those of `filters` without which it works too; `refused` has the broker's refusals of these.
    """

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        filters: Sequence[str],
        handler: SessionHandler,
        receive_maximum: int,
        retained_filters: Sequence[str] = (),
        previous_filters: Sequence[str] = (),
        optional: Sequence[str] = (),
    ) -> None:
        self._optional = optional
        self.refused: list[str] = []
        self._filters = [(each, _RETAINED_IF_NEW) for each in retained_filters]
        self._filters += [(each, _NEW_ONLY) for each in filters]
        self._unwanted = [each for each in previous_filters if each not in filters]
        self._receive_maximum = receive_maximum
        self._handler = handler
        self._rejected: dict[bytes, RejectedTopic] = {}
        self._subscriber = BrokerConnection(
            endpoint, self._on_message, self._on_connected, receive_maximum, self._rejected, self._on_rejected
        )
        publisher = replace(endpoint, client_id=endpoint.client_id + PUBLISHER_SUFFIX, session_expiry=0)
        self._publisher = BrokerConnection(
            publisher,
            self._on_retained,
            lambda _: handler.may_publish(self.limits),
            other_connection=lambda: self._connection,
        )
        self._connection = self._received = 0
        self._unacknowledged: deque[Delivery] = deque()
        self.subscribed = self._paused = False

    def __repr__(self) -> str:
        return f"<MqttSession {self._subscriber!r} {self._publisher!r}, {len(self._unacknowledged)} unacknowledged>"

    @property
    def up(self) -> bool:
        """Whether both are connected and the subscriptions are confirmed."""
        return self.receiving and self._publisher.up

    @property
    def receiving(self) -> bool:
        """Whether the subscriber is connected and its subscriptions are confirmed."""
        return self._subscriber.up and self.subscribed

    @property
    def limits(self) -> BrokerLimits:
        """What the broker granted: its session, keep alive and subscriptions the subscriber's, else the publisher's."""
        of = self._subscriber.limits
        return replace(
            self._publisher.limits,
            keepalive=of.keepalive,
            session_expiry=of.session_expiry,
            wildcards=of.wildcards,
            shared=of.shared,
        )

    async def open(self) -> None:
        """Open what is not open, and subscribe. Raises BrokerError; then `open` may be tried again."""
        if not self._subscriber.up:
            self.subscribed = False
            await self._subscriber.open()
        try:
            async with asyncio.TaskGroup() as both:
                if not self.subscribed:
                    both.create_task(self._subscribe())
                if not self._publisher.up:
                    both.create_task(self._publisher.open())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _subscribe(self) -> None:
        """On every connection and first of all: Mosquitto loses shared subscriptions at its own restart, and drops
        what is published until they are there again."""
        limits = self._subscriber.limits
        if not limits.wildcards or (not limits.shared and any(each.startswith(SHARED) for each, _ in self._filters)):
            code = reasons.NO_SHARED_SUBSCRIPTIONS if limits.wildcards else reasons.NO_WILDCARDS
            raise BrokerError(f"the broker refuses to subscribe: {reasons.explain(code)}")
        pairs = zip(self._filters, await self._subscriber.subscribe(self._filters), strict=True)
        refused = {
            each: f"{without_group_name(each)}: {reasons.explain(reason.value)}"
            for (each, _), reason in pairs
            if reason.is_failure
        }
        if needed := [text for each, text in refused.items() if each not in self._optional]:
            raise BrokerError(f"the broker refuses to subscribe {'; '.join(needed)}")
        self.refused = list(refused.values())
        if self._unwanted:
            await self._subscriber.unsubscribe(self._unwanted)
            self._unwanted = []
        self.subscribed = True
        if self._paused:
            self._subscriber.pause()

    async def wait_disconnected(self) -> str:
        """Wait until one of the connections is gone; the reason."""
        both = (self._subscriber, self._publisher)
        waits = [asyncio.ensure_future(each.disconnected.wait()) for each in both]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return (self._subscriber if self._subscriber.disconnected.is_set() else self._publisher).disconnect_reason

    async def leave_shared(self, wait_idle: Callable[[], Awaitable[None]]) -> None:
        """Unsubscribe the shared filters (there are some), so that the broker sends to the other members alone.

        Messages that the broker had assigned to us still come; `wait_idle` waits until none of them is in flight.
        Returns once no more come. Raises BrokerError where the connection breaks.
        """
        shared = [each for each, _ in self._filters if each.startswith(SHARED)]
        await self._subscriber.unsubscribe(shared)
        await wait_idle()
        before = -1
        while before != self._received:
            before = self._received
            # After our last PUBACK the broker sends what it kept back for Receive Maximum, and then this answer.
            await self._subscriber.unsubscribe(shared)
            await wait_idle()

    async def close(self) -> None:
        """Disconnect; the subscriber's session stays at the broker."""
        await self._subscriber.close()
        await self._publisher.close()

    def publish(
        self,
        topic: str,
        payload: bytes,
        on_puback: OnPuback,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
        expiry: int = 0,
    ) -> None:
        """Publish with QoS 1. The broker drops it after `expiry` seconds for a device that is away; 0: it does not."""
        properties = packets.user_properties(user_properties) if user_properties else b""
        if expiry:
            properties += packets.message_expiry(expiry)
        self._publisher.publish(topic, payload, retain, properties, on_puback)

    async def read_retained(self, topics: Sequence[str], subscribed: Callable[[], None], linger: float) -> None:
        """Have the retained messages of `topics` delivered; `subscribed` is called once the broker has confirmed.

        It unsubscribes after `linger` seconds more. Where the connection breaks meanwhile, the next one is used. Raises
        BrokerClosed where the broker has ended CLOSED_ALLOWED connections instead of an answer; where it gave no
        reason, one more, and those are not counted with which the subscriber's connection ended too.
        """
        closed = 0
        while True:
            await self._publisher.connected.wait()
            connection = self._connection
            try:
                await self._publisher.subscribe([(topic, _RETAINED_NOW) for topic in topics])
                break
            except BrokerClosed as error:
                await self._publisher.connected.wait()
                if error.reason or connection == self._connection:
                    closed += 1
                    if closed >= CLOSED_ALLOWED + (not error.reason):
                        raise
            except BrokerError:
                pass
        subscribed()
        asyncio.get_running_loop().call_later(linger, self._publisher.unsubscribe_nowait, topics)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery. Its PUBACK leaves after those of all earlier deliveries (MQTT 5, 4.6).

        A delivery of an earlier connection sends none: its packet id may be another message's by now.
        """
        delivery.acknowledged = True
        while self._unacknowledged and self._unacknowledged[0].acknowledged:
            first = self._unacknowledged.popleft()
            self._subscriber.ack(first.packet_id)
            if first.rejected:
                self._subscriber.send_pubacks(first.rejected)

    def reject_until(self, topic: str, until: float, size: int) -> None:
        """Acknowledge and count the messages of `topic` unread, where their payloads have `size` bytes at least: those
        that are read before `until` (monotonic seconds), and before reading pauses or the connection ends.

        What the broker delivers again is delivered all the same.
        """
        rejected = self._rejected.setdefault(packets.topic_key(topic), RejectedTopic(until))
        rejected.until, rejected.size = until, size

    def take_rejected(self, topic: str) -> int:
        """How many messages of `topic` were rejected unread since the last call."""
        rejected = self._rejected.get(packets.topic_key(topic))
        if rejected is None:
            return 0
        count, rejected.count = rejected.count, 0
        return count

    def stop_rejecting(self, topic: str) -> None:
        """Forget a topic, and what `take_rejected` did not take."""
        self._rejected.pop(packets.topic_key(topic), None)

    def _read_all(self) -> None:
        """Reading begins again: `reject_until` holds no more."""
        for rejected in self._rejected.values():
            rejected.until = float("-inf")

    def blocking_deliveries(self) -> list[Delivery]:
        """The unacknowledged deliveries, where Receive Maximum is reached: the broker sends no more before the first
        of them is acknowledged. Else empty."""
        rejected = sum(len(delivery.rejected) for delivery in self._unacknowledged if delivery.rejected)
        if len(self._unacknowledged) + rejected // packets.PUBACK_BYTES < self._receive_maximum:
            return []
        return [delivery for delivery in self._unacknowledged if not delivery.acknowledged]

    def pause(self) -> None:
        """Stop reading, after the answer to our subscriptions: about Receive Maximum messages may come before it."""
        self._paused = True
        if self.subscribed:
            self._subscriber.pause()

    def resume(self) -> None:
        self._paused = False
        self._read_all()
        self._subscriber.resume()

    def _on_connected(self, session_present: bool) -> None:
        self._connection += 1
        self._paused = False
        self._unacknowledged.clear()
        self._read_all()
        self._handler.connected(self._connection, session_present)

    def _on_message(self, message: Publish) -> None:
        topic, payload, qos, packet_id, dup, _ = message
        delivery = Delivery(topic, payload, self._connection, packet_id, qos, dup)
        self._received += 1
        if qos:
            self._unacknowledged.append(delivery)
        self._handler.delivered(delivery)

    def _on_rejected(self, pubacks: bytearray) -> None:
        self._received += 1
        if not self._unacknowledged:
            self._subscriber.send_pubacks(pubacks)
        elif self._unacknowledged[-1].rejected is None:
            self._unacknowledged[-1].rejected = pubacks
        else:
            self._unacknowledged[-1].rejected += pubacks

    def _on_retained(self, message: Publish) -> None:
        self._handler.delivered(Delivery(message.topic, message.payload, 0, 0, 0))


def without_group_name(topic_filter: str) -> str:
    """Without the name of a group: whoever knows it may join."""
    return topic_filter if not topic_filter.startswith(SHARED) else f"{SHARED}***/{topic_filter.split('/', 2)[2]}"
