"""Connections to one host: who waits for one is always told, whatever becomes of it."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.cloud.http_client import ConnectionPool, HttpOrigin, Response
from gateway.errors import CloudError, TransientError

HOST = "127.0.0.1"
POST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DEADLINE_S = 10.0


class Service:
    """Answers each request with `answer`, and closes the connection where that does not say where it ends."""

    answer = OK

    def __init__(self) -> None:
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(self.answer)
            if b"Content-Length" not in self.answer:
                break
        writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """It does not listen yet."""
    made = Service()
    yield made
    await made.close()


def pool(service: Service, connections: int) -> ConnectionPool:
    return ConnectionPool(HttpOrigin(HOST, service.port, None, connections, DEADLINE_S, DEADLINE_S))


async def asked(connections: ConnectionPool, count: int = 1) -> list[Response | CloudError]:
    """What each of so many requests, made at once, is told."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Response | CloudError]] = [loop.create_future() for _ in range(count)]
    for answer in answers:
        connections.send(POST, answer.set_result)
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*answers)


@pytest.mark.parametrize(("connections", "count"), [(1, 1), (1, 5), (3, 30), (128, 400)])
async def test_all_who_wait_are_told_that_nobody_listens(service: Service, connections: int, count: int) -> None:
    made = pool(service, connections)
    assert [type(each) for each in await asked(made, count)] == [TransientError] * count
    await service.open()
    assert all(isinstance(each, Response) and each.body == b"{}" for each in await asked(made, count))
    made.close()


@pytest.mark.parametrize("connections", [1, 2])
async def test_who_is_told_may_ask_again_at_once(service: Service, connections: int) -> None:
    """As the core does: the next call begins where the last one's outcome is heard."""
    made = pool(service, connections)
    told: list[Response | CloudError] = []
    enough = asyncio.Event()

    def hear(answer: Response | CloudError) -> None:
        told.append(answer)
        if len(told) < 5:
            made.send(POST, hear)
        else:
            enough.set()

    made.send(POST, hear)
    async with asyncio.timeout(DEADLINE_S):
        await enough.wait()
    assert [type(each) for each in told] == [TransientError] * 5
    made.close()


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200",
    ],
)
async def test_an_answer_that_breaks_off_is_none(service: Service, broken: bytes) -> None:
    service.answer = broken
    await service.open()
    made = pool(service, 1)
    assert [type(each) for each in await asked(made)] == [TransientError]
    made.close()


async def test_an_answer_without_a_length_ends_with_its_connection(service: Service) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\n\r\n{}"
    await service.open()
    made = pool(service, 1)
    (answer,) = await asked(made)
    assert isinstance(answer, Response)
    assert answer.body == b"{}"
    made.close()
