"""The street door: connect, deliver (topic, bytes, ticket), publish, acknowledge. Knows no nouns of the protocol.

Two connections, an ear and a mouth. The ear has the persistent session; reading it can stop while the cloud is slow.
The mouth publishes and reads retained messages, so that what the ear's messages wait for never waits behind them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt import packets
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint, Confirmed
from gateway.mqtt.packets import Publish

SHARED = "$share/"
"""MQTT 5: what the filter of a shared subscription begins with."""

_LIVE = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
_TOLD = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
_RETAINED = SubscribeOptions(qos=0, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)


@dataclass(slots=True, eq=False)
class Delivery:
    """One message as it came, and the ticket to settle it by. `connection` counts the ear's connections from 1.

    0: it came over the mouth, and nothing is to be acknowledged. `again`: the broker has delivered it before.
    """

    topic: str
    payload: bytes
    connection: int
    packet_id: int
    qos: int
    again: bool = False
    settled: bool = False


class Listener(Protocol):
    """Whom the broker tells. None of these may raise."""

    def connected(self, connection: int, resumed: bool) -> None:
        """A connection stands; `resumed`: the broker kept the session. Its messages follow."""

    def delivered(self, delivery: Delivery) -> None:
        """A message came."""


class MqttSession:
    """Opens and opens again the two connections, and keeps the order of the acknowledgements.

    `told`: filters of which a new session brings the retained messages too, before anything else.
    `former`: filters of an earlier life that the session may have, and that are given up where they are not `filters`.
    """

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        filters: Sequence[str],
        listener: Listener,
        receive_maximum: int,
        told: Sequence[str] = (),
        former: Sequence[str] = (),
    ) -> None:
        self._filters = [*((each, _TOLD) for each in told), *((each, _LIVE) for each in filters)]
        self._stale = [each for each in former if each not in filters]
        self._most = receive_maximum
        self._listener = listener
        self._ear = BrokerConnection(endpoint, self._heard, self._connected, receive_maximum)
        mouth = replace(endpoint, client_id=endpoint.client_id + "-mouth", session_expiry=0)
        self._mouth = BrokerConnection(mouth, self._overheard)
        self._connection = self._heard_so_far = 0
        self._unsettled: deque[Delivery] = deque()
        self.subscribed = self._paused = False

    def __repr__(self) -> str:
        return f"<Broker {self._ear!r} {self._mouth!r}, {len(self._unsettled)} unsettled>"

    @property
    def up(self) -> bool:
        """Whether both connections stand and the subscriptions are confirmed."""
        return self._ear.up and self._mouth.up and self.subscribed

    async def open(self) -> None:
        """Open what is not open, and subscribe. Raises BrokerError, after which `open` may be tried again."""
        if not self._ear.up:
            self.subscribed = False
            await self._ear.open()
        try:
            async with asyncio.TaskGroup() as both:
                if not self.subscribed:
                    both.create_task(self._subscribe())
                if not self._mouth.up:
                    both.create_task(self._mouth.open())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _subscribe(self) -> None:
        """At every connection and before all else: Mosquitto forgets shared subscriptions over its own restart, and
        drops what is published until they are there again."""
        reasons = await self._ear.subscribe(self._filters)
        answers = zip(self._filters, reasons, strict=True)
        refused = [f"{each} ({reason})" for (each, _), reason in answers if reason.is_failure]
        if refused:
            raise BrokerError(
                f"the broker refuses to subscribe {', '.join(refused)}: its ACL must let the gateway read them"
            )
        if self._stale:
            await self._ear.give_up(self._stale)
            self._stale = []
        self.subscribed = True
        if self._paused:
            self._ear.pause()

    async def lost(self) -> str:
        """Wait until one of the connections is gone; why it went."""
        waits = [asyncio.ensure_future(link.lost.wait()) for link in (self._ear, self._mouth)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return (self._ear if self._ear.lost.is_set() else self._mouth).fault

    async def give_up_share(self, quiet: Callable[[], Awaitable[None]]) -> None:
        """Give up the shared subscriptions (there are some), so that the broker deals to the other members alone.

        What it had dealt to us by then keeps coming; `quiet` waits until nothing of that is under way. Returns once no
        more comes. Raises BrokerError where the connection breaks.
        """
        shared = [each for each, _ in self._filters if each.startswith(SHARED)]
        await self._ear.give_up(shared)
        await quiet()
        before = -1
        while before != self._heard_so_far:
            before = self._heard_so_far
            # Behind our last PUBACK the broker sends what it kept back for Receive Maximum; its answer follows that.
            await self._ear.give_up(shared)
            await quiet()

    async def close(self) -> None:
        """Leave; the ear's session stays at the broker."""
        await self._ear.close()
        await self._mouth.close()

    def publish(
        self,
        topic: str,
        payload: bytes,
        then: Confirmed,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Publish with QoS 1; `then` hears the reason code of the broker's confirmation."""
        self._mouth.publish(topic, payload, retain, packets.user_properties(user_properties), then)

    async def read_retained(self, topics: Sequence[str], confirmed: Callable[[], None], linger: float) -> None:
        """Have the retained messages of `topics` delivered; `confirmed` is called once the broker has subscribed us.

        It is given up after `linger` seconds more. Where the connection breaks meanwhile, the next one is asked.
        """
        while True:
            await self._mouth.stands.wait()
            try:
                await self._mouth.subscribe([(topic, _RETAINED) for topic in topics])
                break
            except BrokerError:
                continue  # the next connection is asked
        confirmed()
        asyncio.get_running_loop().call_later(linger, self._mouth.unsubscribe, topics)

    def settle(self, delivery: Delivery) -> None:
        """Acknowledge a delivery, once all before it are settled: PUBACKs leave in the order of the PUBLISHes.

        A delivery of an earlier connection is left alone: its packet id may be another message's by now.
        """
        delivery.settled = True
        while self._unsettled and self._unsettled[0].settled:
            self._ear.ack(self._unsettled.popleft().packet_id)

    def blocking(self) -> list[Delivery]:
        """What is not settled, where the broker sends nothing more before the first of it is: acks keep their order."""
        if len(self._unsettled) < self._most:
            return []
        return [delivery for delivery in self._unsettled if not delivery.settled]

    def pause(self) -> None:
        """Take nothing more in, but for what stands before the answer to our subscriptions: about a window of it."""
        self._paused = True
        if self.subscribed:
            self._ear.pause()

    def resume(self) -> None:
        """Take in again."""
        self._paused = False
        self._ear.resume()

    def _connected(self, resumed: bool) -> None:
        self._connection += 1
        self._paused = False
        self._unsettled.clear()
        self._listener.connected(self._connection, resumed)

    def _heard(self, message: Publish) -> None:
        topic, payload, qos, packet_id, dup = message
        delivery = Delivery(topic, payload, self._connection, packet_id, qos, dup)
        self._heard_so_far += 1
        if qos:
            self._unsettled.append(delivery)
        self._listener.delivered(delivery)

    def _overheard(self, message: Publish) -> None:
        self._listener.delivered(Delivery(message.topic, message.payload, 0, 0, 0))
