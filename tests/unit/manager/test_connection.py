"""Bounds and manners of the manager's HTTP server, over sockets: time, size, connections, order."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from structlog.testing import capture_logs

from gateway.manager.errors import ApiError, StoreUnavailable
from gateway.manager.http import AccessKey, Limits, ManagerServer, ServerConfig, make_handler
from gateway.manager.http import connection as connection_module
from gateway.manager.http.handler import Calls
from gateway.manager.operations import EdgeApi, Output
from gateway.manager.service import running as running_service
from gateway.manager.store import ObjectStore, Place
from tests.support.arrivals import DEADLINE_S
from tests.support.polling import until_async
from tests.support.stores import sqlite_store

HOST = "127.0.0.1"
KEY = AccessKey("AKIDEXAMPLE", "secret")
WHO = b'{"DeviceFleetName":"f","DeviceName":"d"}'
SHORT = Limits(head=0.1, body=0.1, idle=0.1, unread=0.2, end=0.1, interval=0.02)
LONG = Limits(interval=0.02, end=DEADLINE_S)
"""What must not happen takes longer than any test."""


def call(operation: str = "GetDeviceRegistration", body: bytes = WHO, *headers: str) -> bytes:
    lines = [f"POST /{operation} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def signed_call(body: bytes = WHO, *more: str) -> bytes:
    request = AWSRequest("POST", "http://x/GetDeviceRegistration", data=body, headers={"Host": "x"})
    SigV4Auth(Credentials(KEY.id, KEY.secret), "sagemaker", "eu-west-1").add_auth(request)
    headers = [f"{name}: {value}" for name, value in request.headers.items() if name != "Host"]
    return call("GetDeviceRegistration", body, *headers, *more)


class Client:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.answer()

    async def end(self) -> bytes:
        """What still comes until the server ends the connection."""
        return await self.reader.read()


class Service:
    """A server over a database with the device f/d, and its clients."""

    def __init__(self, tmp_path, store) -> None:
        self.data = tmp_path
        self.store = store
        store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
        self.stack = contextlib.AsyncExitStack()

    async def start(self, limits: Limits = LONG, key: AccessKey | None = None, calls: Calls | None = None):
        config = ServerConfig(Place(self.data), access_key=key, max_body=limits.max_body)
        objects = ObjectStore(self.data, self.store)
        service = await self.stack.enter_async_context(running_service(self.store, objects, 300, 60))
        handler = make_handler(config, self.store, calls or service.handle, service.control)
        self.server = ManagerServer(handler, limits)
        self.port = await self.server.start(HOST, 0)
        self.stack.push_async_callback(self.server.close)
        return self

    async def connect(self, **options) -> Client:
        where = {} if "sock" in options else {"host": HOST, "port": self.port}
        client = Client(*await asyncio.open_connection(**where, **options))
        self.stack.callback(client.writer.close)
        return client

    async def small_socket(self, size: int) -> socket.socket:
        """A client's, connected, which takes few bytes that nobody reads: so the server sees each read."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (HOST, self.port))
        return made

    def put(self, name: str, content: bytes) -> str:
        folder = self.data / "objects" / "models"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return f"GET /models/{name} HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def service(tmp_path) -> AsyncIterator[Service]:
    with sqlite_store(tmp_path) as store:
        made = Service(tmp_path, store)
        async with asyncio.timeout(25), made.stack:
            yield made


# Time


@pytest.mark.parametrize("half", ["POST / HTTP/1.1\r\nHo", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"])
async def test_half_a_request_is_answered_with_408_and_closed(service, half):
    client = await (await service.start(SHORT)).connect()
    status, headers, _ = await client.send(half.encode())
    assert (status, headers["connection"]) == (408, "close")
    assert await client.end() == b""


async def test_a_head_that_trickles_has_no_more_time(service):
    client = await (await service.start(SHORT)).connect()
    answer = asyncio.create_task(client.answer())
    for byte in b"POST / HTTP/1.1\r\nX: " + b"x" * 10_000:
        if answer.done():
            break
        client.writer.write(bytes([byte]))
        await asyncio.wait([answer], timeout=0.005)
    assert (await answer)[0] == 408


async def test_a_connection_without_a_request_is_closed(service):
    await service.start(SHORT)
    fresh, used = await service.connect(), await service.connect()
    assert (await used.send(call()))[0] == 200
    assert await asyncio.gather(fresh.end(), used.end()) == [b"", b""]


async def test_a_client_does_not_pay_for_the_time_in_which_the_server_stood_still(service):
    client = await (await service.start(Limits(idle=0.3, head=0.3, interval=0.02))).connect()
    assert (await client.send(call()))[0] == 200
    for _ in range(2):  # the first look at the connection, and one that finds it unchanged
        time.sleep(0.4)  # noqa: ASYNC251
        for _ in range(3):
            await asyncio.sleep(0)
    assert (await client.send(call()))[0] == 200


async def test_an_answer_that_takes_its_time_ends_no_connection(service):
    calls = LaterCalls(service.store, after=0.5)
    client = await (await service.start(SHORT, calls=calls)).connect()
    assert (await client.send(call()))[0] == 200


async def test_a_client_that_reads_nothing_is_dropped(service):
    """Of a large answer, and of many: more than sockets hold."""
    large, small = (service.put(str(size), bytes(size)).encode() for size in (20_000_000, 2_000_000))
    await service.start(Limits(unread=0.2, interval=0.02))
    for sent in (large, small * 10):
        client = await service.connect(sock=await service.small_socket(4_096), limit=1)
        client.writer.transport.pause_reading()
        client.writer.write(sent)
        await until_async(lambda: service.server.connections)
        await until_async(lambda: not service.server.connections)


async def test_a_client_that_reads_slowly_gets_all(service):
    file = service.put("file", bytes(20_000_000)).encode()
    await service.start(SHORT)
    client = await service.connect(sock=await service.small_socket(65_536), limit=50_000)
    client.writer.write(file)
    await client.reader.readuntil(b"\r\n\r\n")
    got, began = 0, time.monotonic()
    while got < 20_000_000:
        read = await client.reader.read(1_000_000)
        assert read
        got += len(read)
        if time.monotonic() - began < 3 * SHORT.unread:
            await asyncio.sleep(0.02)


# Size


async def test_a_length_beyond_the_limit_is_refused_unread(service):
    client = await (await service.start(Limits(max_body=1_000))).connect()
    status, headers, body = await client.send(call("SendHeartbeat", b"x" * 1_001)[:-1_001])
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(body)["__type"] == "RequestEntityTooLargeException"


async def test_chunks_beyond_the_limit_are_refused(service):
    client = await (await service.start(Limits(max_body=1_000))).connect()
    client.writer.write(b"POST /SendHeartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.writer.write(b"190\r\n" + b"x" * 400 + b"\r\n")
    client.writer.write(b"259\r\n" + b"x" * 601 + b"\r\n")
    assert (await client.answer())[0] == 413


@pytest.mark.parametrize(("size", "status"), [(16_000, 200), (17_000, 431), (3_000_000, 431)])
async def test_a_head_has_16_kib(service, size, status):
    client = await (await service.start()).connect()
    assert (await client.send(call("GetDeviceRegistration", WHO, "X-Long: " + "x" * size)))[0] == status


async def test_bodies_of_all_connections_have_a_bound(service, monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_BODIES", 1_000)
    await service.start()
    first, second = await service.connect(), await service.connect()
    first.writer.write(call("SendHeartbeat", b"x" * 1_000)[:-100])
    await until_async(lambda: service.server.held == 900)
    status, headers, _ = await second.send(call("SendHeartbeat", b"x" * 1_000)[:-100])
    assert (status, headers["retry-after"]) == (503, "1")
    assert (await first.send(b"x" * 100))[0] == 400  # no JSON
    assert service.server.held == 0


async def test_trailers_and_sizes_of_chunks_have_a_bound(service):
    client = await (await service.start()).connect()
    client.writer.write(b"POST /SendHeartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    client.writer.write(b"x" * 100_000)
    assert (await client.answer())[0] == 400


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_after_these_the_connection_is_closed(service, request_, status):
    """Nothing that follows may be taken for a request."""
    client = await (await service.start()).connect()
    answered, headers, _ = await client.send(request_.encode() + call() * (status != 200))
    assert (answered, headers["connection"]) == (status, "close")
    assert await client.end() == b""


# Connections


async def test_connections_beyond_the_limit_get_503(service):
    await service.start(Limits(connections=2))
    first, second = await service.connect(), await service.connect()
    with capture_logs() as logs:
        for _ in range(3):
            third = await service.connect()
            status, headers, _ = await third.answer()
            assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
            assert await third.end() == b""
    assert [log["max_connections"] for log in logs] == [2]
    assert (await first.send(call()))[0] == 200
    second.writer.close()
    await until_async(lambda: len(service.server.connections) == 1)
    assert (await (await service.connect()).send(call()))[0] == 200


async def test_a_server_that_ends_answers_what_it_has_begun(service):
    calls = LaterCalls(service.store, after=0.2)
    await service.start(calls=calls)
    idle, busy = await service.connect(), await service.connect()
    busy.writer.write(call() + call())
    await until_async(lambda: calls.calls == 1)
    await service.server.close()
    status, headers, _ = await busy.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await asyncio.gather(idle.end(), busy.end()) == [b"", b""]
    assert calls.calls == 1


async def test_what_follows_the_last_request_is_read_and_dropped(service):
    """Else it would end in a reset, which takes the answer from the client."""
    calls = LaterCalls(service.store, after=0.1)
    client = await (await service.start(calls=calls)).connect()
    client.writer.write(call("GetDeviceRegistration", WHO, "Connection: close"))
    await until_async(lambda: calls.calls == 1)
    client.writer.write(b"x" * (16 << 20))
    await client.writer.drain()
    assert (await client.answer())[0] == 200
    assert await client.end() == b""


# What the head decides


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "MissingAuthenticationTokenException"),
        (["Authorization: nonsense"], "IncompleteSignatureException"),
    ],
)
async def test_the_body_of_a_call_without_a_signature_is_not_read(service, headers, code):
    client = await (await service.start(key=KEY)).connect()
    status, answered, body = await client.send(call("SendHeartbeat", b"x" * 1_000_000, *headers)[:-1_000_000])
    assert (answered["x-amzn-errortype"], answered["connection"]) == (code, "close")
    assert json.loads(body)["__type"] == code
    assert status in (400, 403)


async def test_a_caller_that_goes_on_sending_gets_the_refusal(service):
    client = await (await service.start(key=KEY)).connect()
    client.writer.write(call("SendHeartbeat", b"x" * 3_000_000))
    assert (await client.answer())[0] == 403
    await client.writer.drain()
    assert await client.end() == b""


async def test_a_body_is_invited_once_the_head_is_right(service):
    await service.start(key=KEY)
    client, wrong = await service.connect(), await service.connect()
    right = signed_call(WHO, "Expect: 100-continue")
    client.writer.write(right[: -len(WHO)])
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.send(WHO))[0] == 200
    status, headers, _ = await wrong.send(right[: -len(WHO)].replace(KEY.id.encode(), b"STRANGER"))
    assert (status, headers["connection"]) == (403, "close")


async def test_the_body_is_a_part_of_what_is_signed(service):
    client = await (await service.start(key=KEY)).connect()
    assert (await client.send(signed_call()))[0] == 200
    status, headers, _ = await client.send(signed_call()[: -len(WHO)] + WHO.replace(b'"d"', b'"e"'))
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


async def test_a_signature_of_yesterday(service):
    client = await (await service.start(key=KEY)).connect()
    status, headers, _ = await client.send(re.sub(rb"\d{8}(?=[/T])", b"20200101", signed_call()))
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


# Order, and answers that come later


class LaterCalls:
    """The outputs come by a future that another thread completes, as a group's commit does."""

    def __init__(self, store, after: float = 0.0, error: Exception | None = None) -> None:
        self.api = EdgeApi(store)
        self.after = after
        self.error = error
        self.calls = 0

    def __call__(self, operation: str, body: bytes, now: float) -> "asyncio.Future[Output]":
        self.calls += 1
        call = self.api.parse(operation, body, now)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Output] = loop.create_future()

        def commit() -> None:
            time.sleep(self.after)
            [output] = self.api.answer([call])
            set_, value = (future.set_result, output) if self.error is None else (future.set_exception, self.error)
            loop.call_soon_threadsafe(set_, value)

        threading.Thread(target=commit).start()
        return future


async def test_an_output_that_comes_later(service):
    client = await (await service.start(calls=LaterCalls(service.store))).connect()
    status, headers, body = await client.send(call())
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"DeviceRegistration": "REGISTERED", "CacheTTL": "300", "RegistrationTime": 1.0}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("the server is away"), 503, "ServiceUnavailableException"),
        (ApiError("ValidationException", "no"), 400, "ValidationException"),
        (KeyError("x"), 400, "InternalServiceException"),
        (asyncio.CancelledError(), 400, "InternalServiceException"),
    ],
)
async def test_an_error_that_comes_later(service, error, status, code):
    client = await (await service.start(calls=LaterCalls(service.store, error=error))).connect()
    answered, headers, _ = await client.send(call())
    assert (answered, headers["x-amzn-errortype"], headers.get("retry-after")) == (
        status,
        code,
        "1" if status == 503 else None,
    )


async def test_pipelined_requests_are_answered_in_order(service):
    client = await (await service.start(calls=LaterCalls(service.store, after=0.005))).connect()
    client.writer.write(b"".join(call() + b"GET /none/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(10)))
    for number in range(10):
        assert (await client.answer())[0] == 200
        assert b"<BucketName>none" in (await client.answer())[2], number


async def test_a_client_that_closes_its_half_is_answered(service):
    client = await (await service.start(calls=LaterCalls(service.store, after=0.05))).connect()
    client.writer.write(call() + call())
    client.writer.write_eof()
    assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
    assert await client.end() == b""


async def test_a_client_that_leaves_takes_nothing_with_it(service):
    calls = LaterCalls(service.store, after=0.05)
    await service.start(calls=calls)
    client = await service.connect()
    client.writer.write(call())
    await until_async(lambda: calls.calls == 1)
    client.writer.transport.abort()
    await until_async(lambda: not service.server.connections)
    assert (await (await service.connect()).send(call()))[0] == 200
