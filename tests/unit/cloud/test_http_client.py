"""Connections to one origin: each request gets a response or an error, whatever becomes of its connection."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.cloud.http_client import MAX_RESPONSE, ConnectionPool, HttpOrigin, HttpResponse
from gateway.errors import CloudError, OperatorError, TransientError
from tests.support.arrivals import DEADLINE_S

HOST = "127.0.0.1"
POST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Service:
    """Answers each request with `answer`, and closes the connection if that has no length."""

    answer = OK

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind((HOST, 0))  # nobody else listens there meanwhile
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()

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


async def responses(connections: ConnectionPool, count: int = 1) -> list[HttpResponse | CloudError]:
    """What each of so many concurrent requests gets."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[HttpResponse | CloudError]] = [loop.create_future() for _ in range(count)]
    for answer in answers:
        connections.send(POST, answer.set_result)
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*answers)


@pytest.mark.parametrize(("connections", "count"), [(1, 1), (1, 5), (3, 30), (128, 400)])
async def test_each_queued_request_gets_an_error(service: Service, connections: int, count: int) -> None:
    made = pool(service, connections)
    assert [type(each) for each in await responses(made, count)] == [TransientError] * count
    await service.open()
    assert all(isinstance(each, HttpResponse) and each.body == b"{}" for each in await responses(made, count))
    made.close()


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_request_may_be_sent_from_the_callback_of_the_last(service: Service, connections: int) -> None:
    """As the core does: it starts the next call in the callback of the last one."""
    made = pool(service, connections)
    received: list[HttpResponse | CloudError] = []
    enough = asyncio.Event()

    def on_response(answer: HttpResponse | CloudError) -> None:
        received.append(answer)
        if len(received) < 5:
            made.send(POST, on_response)
        else:
            enough.set()

    made.send(POST, on_response)
    async with asyncio.timeout(DEADLINE_S):
        await enough.wait()
    assert [type(each) for each in received] == [TransientError] * 5
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
async def test_a_response_that_ends_early_is_an_error(service: Service, broken: bytes) -> None:
    service.answer = broken
    await service.open()
    made = pool(service, 1)
    assert [type(each) for each in await responses(made)] == [TransientError]
    made.close()


async def test_a_response_without_a_length_ends_with_its_connection(service: Service) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\n\r\n{}"
    await service.open()
    made = pool(service, 1)
    (answer,) = await responses(made)
    assert isinstance(answer, HttpResponse)
    assert answer.body == b"{}"
    made.close()


async def test_headers_of_a_connection_are_those_of_its_last_response(service: Service) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n{}"
    await service.open()
    made = pool(service, 1)
    await responses(made)
    service.answer = b"HTTP/1.1 404 No\r\nX-TWO: 2\r\nContent-Length: 0\r\n\r\n"
    (second,) = await responses(made)
    assert second == HttpResponse(404, {b"X-TWO": b"2", b"Content-Length": b"0"}, b"")
    assert second.headers == {"x-two": "2", "content-length": "0"}
    made.close()


async def test_a_response_that_is_too_large_is_an_error(service: Service) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(MAX_RESPONSE)
    await service.open()
    made = pool(service, 1)
    assert [type(each) for each in await responses(made)] == [OperatorError]
    made.close()


@pytest.mark.parametrize("interim", [(100,), (102,), (103,), (103, 103, 102)])
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_an_interim_response_is_not_the_final_one(
    service: Service, interim: tuple[int, ...], status: int
) -> None:
    heads = "".join(f"HTTP/1.1 {each} Interim\r\nLink: </x>\r\n\r\n" for each in interim).encode()
    service.answer = heads + f"HTTP/1.1 {status} Final\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    await service.open()
    made = pool(service, 1)
    final = HttpResponse(status, {b"Content-Length": b"2"}, b"{}")
    assert [*await responses(made), *await responses(made)] == [final, final]
    made.close()


async def test_interim_responses_without_a_final_one_are_an_error(service: Service) -> None:
    service.answer = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    await service.open()
    made = pool(service, 1)
    assert [type(each) for each in await responses(made)] == [TransientError]
    made.close()


@pytest.mark.parametrize("header", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
async def test_a_switch_of_protocols_is_an_error(service: Service, header: bytes) -> None:
    service.answer = b"HTTP/1.1 101 Switching Protocols\r\n" + header + b"\r\n" + OK
    await service.open()
    made = pool(service, 1)
    assert [type(each) for each in await responses(made)] == [OperatorError]
    made.close()


@pytest.mark.parametrize("more", [b"H", b"HTTP/1.1 200 OK\r\nContent-", OK, b"HTTP/1.1 103 Hints\r\n\r\n"])
async def test_what_follows_a_response_closes_the_connection(service: Service, more: bytes) -> None:
    """It would be read as the response to the next request."""
    service.answer = OK + more
    await service.open()
    made = pool(service, 1)
    await responses(made)
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
    (own,) = await responses(made)
    assert isinstance(own, HttpResponse)
    assert own.body == b"own"
    made.close()


async def test_a_connection_that_ended_with_its_response_gets_no_other_request(service: Service) -> None:
    """It was kept alive by the response before."""
    await service.open()
    made = pool(service, 1)
    await responses(made)
    service.answer = b"HTTP/1.1 200 OK\r\n\r\n{}"
    assert [type(each) for each in await responses(made, 3)] == [HttpResponse] * 3
    made.close()
