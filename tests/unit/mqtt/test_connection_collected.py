"""A connection that was dropped may be collected at any time, in any thread, also after its loop has closed."""

import asyncio
import gc
import socket
import ssl
import sys
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from tests.support.arrivals import DEADLINE_S
from tests.unit.mqtt.timeouts import set_timeout

HOST = "127.0.0.1"
SOON_S = 0.2
"""For what never succeeds."""
ACCEPTED = b"\x20\x03\0\0\0"
REFUSED = b"\x20\x03\0\x87\0"


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Errors of objects as they were collected, such as a socket that nobody closed. Only the test collects."""
    errors: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: errors.append(f"{each.exc_value!r} in {each.object!r}"))
    gc.collect()
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield errors
    gc.enable()


def in_this_thread() -> None:
    gc.collect()


def in_another_thread() -> None:
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join(DEADLINE_S)


collected = pytest.mark.parametrize("collect", [in_this_thread, in_another_thread])


class Broker:
    """Answers a CONNECT with `answer`, and nothing else. `contacted`: a client has sent something, or has closed."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._served: list[asyncio.Task[None] | None] = []
        self.received: list[bytes] = []
        """The first byte of each connection; none where it ended without one."""
        self.contacted = asyncio.Event()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.append(asyncio.current_task())
        self.received.append(await reader.read(1))
        self.contacted.set()
        writer.write(self._answer)
        while await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()

    async def stop(self) -> None:
        """End once every client has closed its connection."""
        self._server.close()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(each for each in self._served if each))


Case = Callable[[Callable[[BrokerConnection], None]], Awaitable[None]]


def connect_to(port: int, timeout: float, tls: ssl.SSLContext | None = None) -> BrokerConnection:
    return BrokerConnection(BrokerEndpoint(HOST, port, "c", timeout=timeout, tls=tls), lambda message: None)


async def closed(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(ACCEPTED)
    connection = connect_to(await broker.start(), DEADLINE_S)
    made(connection)
    await connection.open()
    await connection.close()
    await broker.stop()


async def refused(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(REFUSED)
    connection = connect_to(await broker.start(), DEADLINE_S)
    made(connection)
    with pytest.raises(BrokerError, match="refuses"):
        await connection.open()
    await broker.stop()


async def not_there(made: Callable[[BrokerConnection], None]) -> None:
    with socket.socket() as reserved:
        reserved.bind((HOST, 0))  # and nobody listens
        connection = connect_to(reserved.getsockname()[1], DEADLINE_S)
        made(connection)
        with pytest.raises(BrokerError):
            await connection.open()


async def never_answered(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(b"")
    connection = connect_to(await broker.start(), SOON_S)
    made(connection)
    for _ in range(2):
        with pytest.raises(BrokerError, match="did not answer"):
            await connection.open()
    await broker.stop()


async def no_tls_there(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(ACCEPTED)
    connection = connect_to(await broker.start(), DEADLINE_S, ssl.create_default_context())
    made(connection)
    with pytest.raises(BrokerError):
        await connection.open()
    await broker.stop()


async def cancelled_before_the_answer(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(b"")
    connection = connect_to(await broker.start(), DEADLINE_S)
    made(connection)
    opening = asyncio.create_task(connection.open())
    await broker.contacted.wait()
    opening.cancel()
    await asyncio.wait([opening])
    await broker.stop()


async def cancelled_as_it_connects(made: Callable[[BrokerConnection], None]) -> None:
    """At each turn of the loop: in one of them TCP has connected."""
    broker = Broker(b"")
    connection = connect_to(await broker.start(), DEADLINE_S)
    made(connection)
    for turns in range(12):
        opening = asyncio.create_task(connection.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
    await broker.stop()


async def cancelled_as_it_succeeds(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(ACCEPTED)
    endpoint = BrokerEndpoint(HOST, await broker.start(), "c", timeout=DEADLINE_S)
    connection = BrokerConnection(endpoint, lambda message: None, lambda session_present: opening.cancel() and None)
    made(connection)
    opening = asyncio.create_task(connection.open())
    await asyncio.wait([opening])
    await connection.close()
    await broker.stop()


async def closed_after_a_subscription_without_answer(made: Callable[[BrokerConnection], None]) -> None:
    broker = Broker(ACCEPTED)
    connection = connect_to(await broker.start(), DEADLINE_S)
    made(connection)
    await connection.open()
    set_timeout(connection, SOON_S)
    with pytest.raises(BrokerError, match="no answer"):
        await connection.subscribe([("a", SubscribeOptions(qos=1))])
    await connection.close()
    await broker.stop()


CASES = [
    closed,
    refused,
    not_there,
    never_answered,
    no_tls_there,
    cancelled_before_the_answer,
    cancelled_as_it_connects,
    cancelled_as_it_succeeds,
    closed_after_a_subscription_without_answer,
]


@collected
@pytest.mark.parametrize("case", CASES)
def test_a_dropped_connection_is_collected_without_an_error(
    case: Case, collect: Callable[[], None], reports: list[str]
) -> None:
    made: list[weakref.ref[BrokerConnection]] = []
    asyncio.run(case(lambda connection: made.append(weakref.ref(connection))))
    collect()
    assert [each() for each in made] == [None]
    assert reports == []


async def dropped_open(made: list[weakref.ref[BrokerConnection]], listener: socket.socket) -> socket.socket:
    """The broker's end of the connection."""
    loop = asyncio.get_running_loop()
    connection = connect_to(listener.getsockname()[1], DEADLINE_S)
    made.append(weakref.ref(connection))
    opening = asyncio.create_task(connection.open())
    accepted, _ = await loop.sock_accept(listener)
    await loop.sock_sendall(accepted, ACCEPTED)
    await opening
    return accepted


@collected
def test_a_connection_that_nobody_closed_is_collected_without_an_error(
    collect: Callable[[], None], reports: list[str]
) -> None:
    made: list[weakref.ref[BrokerConnection]] = []
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        connection = asyncio.run(dropped_open(made, listener))
        collect()
        connection.close()
    assert [each() for each in made] == [None]
    assert reports == []


async def test_a_connection_that_comes_after_its_attempt_is_closed_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CONNECT would end the session of the next one."""
    go_on = threading.Event()
    connect = paho.Client.connect

    def late(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(DEADLINE_S)
        return connect(*arguments, **options)

    monkeypatch.setattr(paho.Client, "connect", late)
    broker = Broker(ACCEPTED)
    connection = connect_to(await broker.start(), SOON_S)
    try:
        for _ in range(2):
            with pytest.raises(BrokerError, match="did not answer"):
                await connection.open()
    finally:
        go_on.set()
    async with asyncio.timeout(DEADLINE_S):
        await broker.contacted.wait()
    assert broker.received == [b""]
    set_timeout(connection, DEADLINE_S)
    await connection.open()
    assert connection.up
    await connection.close()
    await broker.stop()
