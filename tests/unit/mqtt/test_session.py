"""PUBACKs of the session: in the order of the PUBLISHes (MQTT 5, 4.6), and on the connection of their delivery."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.limits import BrokerLimits
from gateway.mqtt.session import PUBLISHER_SUFFIX, Delivery, MqttSession, without_group_name
from tests.support import mqtt_packets
from tests.support.arrivals import DEADLINE_S
from tests.support.mqtt_packets import PUBACK, SUBACK, PacketReader

HOST = "127.0.0.1"
CONNECT, SUBSCRIBE = 0x10, 0x80
CONNACK = b"\x20\x03\0\0\0"
TOPIC = mqtt_packets.text("edge/f/d/hb")


class Deliveries:
    """A handler that keeps what it is given, until `count` are here."""

    session: MqttSession

    def __init__(self, count: int) -> None:
        self.all: list[Delivery] = []
        self.complete = asyncio.Event()
        self._count = count

    def connected(self, connection: int, session_present: bool) -> None:
        """Nothing follows."""

    def may_publish(self, limits: BrokerLimits) -> None:
        """Nothing follows."""

    def delivered(self, delivery: Delivery) -> None:
        self.all.append(delivery)
        if len(self.all) == self._count:
            self.complete.set()


class SubscribersBroker:
    """On each connection of the subscriber it publishes the packet ids 1 to `messages`, then `more`. Keeps the PUBACKs.

    `pubacks`: packet ids, one list for each connection. `ended`: one for each that is closed.
    """

    def __init__(self, messages: int, more: bytes = b"") -> None:
        self._messages, self._more = messages, more
        self.pubacks: list[list[int]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.ended = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets, pubacks = PacketReader(), list[int]()
        is_subscriber = False
        while data := await reader.read(4096):
            for kind, _, body in packets.feed(data):
                packet_id = int.from_bytes(body[:2], "big")
                if kind == CONNECT:
                    is_subscriber = PUBLISHER_SUFFIX.encode() not in body
                    writer.write(CONNACK)
                    if is_subscriber:
                        self.pubacks.append(pubacks)
                        self.writers.append(writer)
                elif kind == SUBSCRIBE:
                    writer.write(mqtt_packets.packet(SUBACK, body[:2] + b"\0\1"))
                    for number in range(1, self._messages + 1):
                        no_properties = b"\0"
                        writer.write(mqtt_packets.publish(TOPIC, no_properties + b"%d" % number, number))
                    writer.write(self._more)
                elif kind == PUBACK:
                    pubacks.append(packet_id)
        writer.close()
        if is_subscriber:
            self.ended.release()


@asynccontextmanager
async def opened(broker: SubscribersBroker, handler: Deliveries) -> AsyncIterator[MqttSession]:
    """A session at this broker; closed afterwards, with all PUBACKs read."""
    server = await asyncio.start_server(broker.serve, HOST, 0)
    endpoint = BrokerEndpoint(HOST, server.sockets[0].getsockname()[1], "c", session_expiry=60)
    session = MqttSession(endpoint, ["edge/+/+/hb"], handler, receive_maximum=10)
    handler.session = session
    async with asyncio.timeout(DEADLINE_S):
        await session.open()
        try:
            yield session
        finally:
            await session.close()
            server.close()
        for _ in broker.pubacks:
            await broker.ended.acquire()


async def test_pubacks_leave_in_the_order_of_the_publishes() -> None:
    broker, handler = SubscribersBroker(messages=4), Deliveries(4)
    async with opened(broker, handler) as session:
        await handler.complete.wait()
        first, second, third, fourth = handler.all
        for delivery in (third, second, fourth, first):
            session.ack(delivery)
    assert broker.pubacks == [[1, 2, 3, 4]]


async def test_a_puback_waits_for_those_before_it() -> None:
    broker, handler = SubscribersBroker(messages=3), Deliveries(3)
    async with opened(broker, handler) as session:
        await handler.complete.wait()
        first, _, third = handler.all
        session.ack(third)
        session.ack(first)
    assert broker.pubacks == [[1]]


async def test_a_delivery_of_an_earlier_connection_sends_no_puback() -> None:
    """Its packet id is another message's by then."""
    broker, handler = SubscribersBroker(messages=2), Deliveries(4)
    async with opened(broker, handler) as session:
        lost = asyncio.create_task(session.wait_disconnected())
        broker.writers[0].close()
        await lost
        await session.open()
        await handler.complete.wait()
        old, _, new, _ = handler.all
        assert (old.connection, new.connection, old.packet_id) == (1, 2, new.packet_id)
        session.ack(old)
        session.ack(new)
    assert broker.pubacks == [[], [1]]


def test_an_error_does_not_name_a_group() -> None:
    assert without_group_name("$share/a-secret/edge/+/+/hb") == "$share/***/edge/+/+/hb"
    assert without_group_name("edge/+/+/hb") == "edge/+/+/hb"


LOUD = "edge/f/loud/hb"


def loud(*packet_ids: int) -> bytes:
    return b"".join(mqtt_packets.publish(mqtt_packets.text(LOUD), b"\0x", number) for number in packet_ids)


def quiet(packet_id: int) -> bytes:
    return mqtt_packets.publish(TOPIC, b"\0y", packet_id)


class Rejecting(Deliveries):
    """Has the messages of the loud device rejected unread: from the beginning of a connection, or (`after_first`) once
    one was delivered."""

    def __init__(self, count: int, after_first: bool = True) -> None:
        super().__init__(count)
        self._after_first = after_first

    def connected(self, connection: int, session_present: bool) -> None:
        if not self._after_first:
            self.session.reject_until(LOUD, float("inf"), 0)

    def delivered(self, delivery: Delivery) -> None:
        if delivery.topic == LOUD:
            self.session.reject_until(LOUD, float("inf"), 0)
        super().delivered(delivery)


async def test_pubacks_of_rejected_messages_leave_in_the_order_of_the_publishes() -> None:
    """Before, between and after messages that are acknowledged in another order."""
    broker = SubscribersBroker(0, loud(1, 2, 3) + quiet(4) + loud(5, 6) + quiet(7) + loud(8) + quiet(9))
    handler = Rejecting(4)
    async with opened(broker, handler) as session:
        await handler.complete.wait()
        first, fourth, seventh, ninth = handler.all
        assert [each.packet_id for each in handler.all] == [1, 4, 7, 9]
        assert [session.take_rejected(LOUD), session.take_rejected(LOUD)] == [5, 0]
        for delivery in (first, seventh, fourth, ninth):
            session.ack(delivery)
    assert broker.pubacks == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]


async def test_what_is_rejected_behind_nothing_is_acknowledged_at_once() -> None:
    broker, handler = SubscribersBroker(0, loud(1, 2) + quiet(3)), Rejecting(1, after_first=False)
    async with opened(broker, handler):
        await handler.complete.wait()
    assert [each.packet_id for each in handler.all] == [3]
    assert broker.pubacks == [[1, 2]]


async def test_rejected_messages_count_among_those_that_the_broker_waits_for() -> None:
    broker, handler = SubscribersBroker(0, quiet(1) + loud(*range(2, 11)) + quiet(11)), Rejecting(3)
    async with opened(broker, handler) as session:
        await handler.complete.wait()
        first, loud_one, last = handler.all
        session.ack(loud_one)
        assert session.blocking_deliveries() == [first, last]
        session.ack(first)
        assert session.blocking_deliveries() == []


async def test_on_the_next_connection_all_is_read_again() -> None:
    broker, handler = SubscribersBroker(0, loud(1, 2)), Rejecting(2)
    async with opened(broker, handler) as session:
        lost = asyncio.create_task(session.wait_disconnected())
        broker.writers[0].close()
        await lost
        await session.open()
        await handler.complete.wait()
        assert [(each.connection, each.packet_id) for each in handler.all] == [(1, 1), (2, 1)]


async def test_after_a_pause_all_is_read_again() -> None:
    broker, handler = SubscribersBroker(0, loud(1)), Rejecting(2)
    async with opened(broker, handler) as session:
        session.pause()
        session.resume()
        broker.writers[0].write(loud(2))
        await handler.complete.wait()
        assert [each.packet_id for each in handler.all] == [1, 2]


async def test_a_topic_that_is_forgotten_is_read_again() -> None:
    broker, handler = SubscribersBroker(0, loud(1)), Rejecting(2)
    async with opened(broker, handler) as session:
        session.stop_rejecting(LOUD)
        broker.writers[0].write(loud(2))
        await handler.complete.wait()
        assert [each.packet_id for each in handler.all] == [1, 2]
