"""The HTTP server of the status pages: what a client may send, and how much of the gateway it can use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.ops.http_server import MAX_CONNECTIONS, MAX_REQUEST, HttpServer, PageResponse
from tests.support.arrivals import DEADLINE_S

HOST = "127.0.0.1"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@asynccontextmanager
async def serving(limit: float = DEADLINE_S) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer({"/": lambda: PageResponse("text/plain", b"here")}, limit)
    try:
        yield server, await server.start(HOST, 0)
    finally:
        await server.close()


async def responses(port: int, *pieces: bytes) -> bytes:
    """All that is answered, until the server closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_request_in_pieces_is_one() -> None:
    async with serving() as (_, port):
        answer = await responses(port, *(GET[at : at + 1] for at in range(len(GET))))
    assert answer == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nAllow: GET, HEAD\r\n"
        b"Connection: close\r\n\r\nhere"
    )


async def test_a_query_string_changes_nothing() -> None:
    async with serving() as (_, port):
        assert (await responses(port, GET.replace(b"/ ", b"/?a=b ", 1))).endswith(b"here")


async def test_a_second_request_on_the_connection_is_ignored() -> None:
    async with serving() as (_, port):
        assert (await responses(port, GET + GET)).count(b"200 OK") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\xff\xfe\x00\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n", b"404"),
        (b"GET /\xff\xff HTTP/1.1\r\nHost: h\r\n\r\n", b"40"),
        (b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * MAX_REQUEST, b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * MAX_REQUEST, b"413"),
    ],
)
async def test_a_wrong_request_gets_an_error_and_is_closed(request_: bytes, status: bytes) -> None:
    async with serving() as (server, port):
        assert (await responses(port, request_)).startswith(b"HTTP/1.1 " + status)
        assert (await responses(port, GET)).endswith(b"here")
    assert server.connections == set()


async def test_a_silent_connection_is_closed() -> None:
    async with serving(limit=0.01) as (_, port):
        assert await responses(port) == b""


async def test_connections_are_limited() -> None:
    async with serving() as (_, port):
        waiting = [await asyncio.open_connection(HOST, port) for _ in range(MAX_CONNECTIONS)]
        assert await responses(port, GET) == b""
        for _, writer in waiting:
            writer.close()
            await writer.wait_closed()


async def test_closing_waits_for_no_connection() -> None:
    async with serving() as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(GET[:5])
        assert (await responses(port, GET)).endswith(b"here")  # so the connection before was accepted, too
        await server.close()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
