"""PUBACKs of the session: in the order of the PUBLISHes (MQTT 5, 4.6), and on the connection of their delivery."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.limits import BrokerLimits
from gateway.mqtt.session import PUBLISHER_SUFFIX, Delivery, MqttSession
from tests.support import mqtt_packets
from tests.support.mqtt_packets import PUBACK, SUBACK, PacketReader

HOST = "127.0.0.1"
DEADLINE_S = 10.0
CONNECT, SUBSCRIBE = 0x10, 0x80
CONNACK = b"\x20\x03\0\0\0"
TOPIC = mqtt_packets.text("edge/f/d/hb")


class Deliveries:
    """A handler that keeps what it is given, until `count` are here."""

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
    """On each connection of the subscriber it publishes the packet ids 1 to `messages`, and keeps the PUBACKs.

    `pubacks`: packet ids, one list for each connection. `ended`: one for each that is closed.
    """

    def __init__(self, messages: int) -> None:
        self._messages = messages
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
