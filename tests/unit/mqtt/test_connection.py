"""How long a connection waits: for an answer to a subscription, and for a silent broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from tests.support.arrivals import DEADLINE_S
from tests.unit.mqtt.timeouts import set_timeout

HOST = "127.0.0.1"
TIMEOUT_S = 1.0
"""For what never succeeds."""
ANSWER_TIMEOUT_S = 2.0
PAUSE_S = 0.5
"""Far enough below ANSWER_TIMEOUT_S for such a machine."""
CONNACK = b"\x20\x03\0\0\0"
MESSAGE = b"\x30\x06\0\1a\0hi"
FILTERS = [("a", SubscribeOptions(qos=1))]


async def packet(reader: asyncio.StreamReader) -> bytes:
    """The body of a short packet."""
    head = await reader.readexactly(2)
    return await reader.readexactly(head[1])


@asynccontextmanager
async def broker(messages: int, answers: bool) -> AsyncIterator[int]:
    """The port of one that sends so many messages, one each PAUSE_S, before it answers a subscription."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK)
        try:
            packet_id = (await packet(reader))[:2]
        except asyncio.IncompleteReadError:  # it closes without a subscription
            writer.close()
            return
        for _ in range(messages):
            await asyncio.sleep(PAUSE_S)
            writer.write(MESSAGE)
        if answers:
            writer.write(b"\x90\x04" + packet_id + b"\0\1")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_an_answer_after_many_messages_is_waited_for() -> None:
    received: list[bytes] = []
    async with broker(messages=5, answers=True) as port:
        connection = BrokerConnection(
            BrokerEndpoint(HOST, port, "c", timeout=DEADLINE_S), lambda message: received.append(message.payload)
        )
        await connection.open()
        set_timeout(connection, ANSWER_TIMEOUT_S)
        assert [reason.value for reason in await connection.subscribe(FILTERS)] == [1]
        assert received == [b"hi"] * 5
        await connection.close()


async def test_a_silent_broker_is_not_waited_for() -> None:
    async with broker(messages=0, answers=False) as port:
        connection = BrokerConnection(BrokerEndpoint(HOST, port, "c", timeout=DEADLINE_S), lambda message: None)
        await connection.open()
        set_timeout(connection, TIMEOUT_S)
        with pytest.raises(BrokerError, match="no answer to a subscription"):
            await connection.subscribe(FILTERS)
        await connection.close()


async def test_an_open_that_is_cancelled_as_it_succeeds_leaves_no_connection() -> None:
    """Up without a socket, it would never be opened again, and could not be closed."""
    async with broker(messages=0, answers=False) as port:
        connection = BrokerConnection(
            BrokerEndpoint(HOST, port, "c"), lambda message: None, lambda session_present: opening.cancel()
        )
        opening = asyncio.create_task(connection.open())
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not connection.up
        assert connection.disconnected.is_set()
        await connection.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_broker_that_stopped_is_read_once_it_continues(times: int) -> None:
    """A socket that paho's thread closes leaves its number watched, and the next one of that number is never read."""
    continues, ended = asyncio.Event(), asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if continues.is_set():
            writer.write(CONNACK)
        await reader.read()
        writer.close()
        ended.release()

    server = await asyncio.start_server(serve, HOST, 0)
    connection = BrokerConnection(
        BrokerEndpoint(HOST, server.sockets[0].getsockname()[1], "c", timeout=TIMEOUT_S), lambda message: None
    )
    for _ in range(times):
        with pytest.raises(BrokerError, match="did not answer"):
            await connection.open()
        async with asyncio.timeout(DEADLINE_S):
            await ended.acquire()  # it is closed now, and not by the next attempt
    continues.set()
    set_timeout(connection, DEADLINE_S)
    await connection.open()
    assert connection.up
    await connection.close()
    server.close()
