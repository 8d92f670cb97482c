"""Objects that are put, over sockets of a real server: slow clients, cut bodies, what is refused unread."""

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import struct
import zlib

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from structlog.testing import capture_logs

from gateway.manager.http import AccessKey, Limits, ManagerServer, ServerConfig, make_handler
from gateway.manager.http.limits import LEAST_RECEIVED
from gateway.manager.http.s3 import api, incoming
from gateway.manager.store import Place
from tests.support.arrivals import DEADLINE_S
from tests.support.polling import until_async
from tests.support.stores import sqlite_store

HOST = "127.0.0.1"
KEY = AccessKey("AKIDEXAMPLE", "secret")
LONG = Limits(interval=0.02)
SIZE = 3_000_000
CONTENT = hashlib.shake_128(b"content").digest(SIZE)
EMPTY = hashlib.sha256(b"").hexdigest()


def signed(method, target, headers, length, payload=EMPTY):
    """The head of a request, signed by botocore, and what it signed. `payload`: what is given as the body's hash."""
    request = AWSRequest(method, f"http://x{target}", headers={"Host": "x", "X-Amz-Content-SHA256": payload} | headers)
    SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", "eu-west-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, f"Content-Length: {length}", "", ""]).encode(), request


def no_call(*arguments):
    raise AssertionError("only S3 is called")


def put(target, length, payload="UNSIGNED-PAYLOAD", **headers):
    return signed("PUT", target, {name.replace("_", "-"): value for name, value in headers.items()}, length, payload)[0]


class Site:
    """A server that checks signatures, with the bucket `models`."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        self.objects = folder / "objects"
        (self.objects / "models").mkdir(parents=True)
        self.stack = contextlib.AsyncExitStack()

    async def start(self, limits=LONG, max_object=2 * SIZE, role="admin"):
        key = AccessKey(KEY.id, KEY.secret, role)
        config = ServerConfig(Place(self.folder), access_key=key, max_object=max_object)
        self.handler = make_handler(config, self.store, no_call, no_call)
        self.server = ManagerServer(self.handler, limits)
        self.port = await self.server.start(HOST, 0)
        self.stack.push_async_callback(self.handler.close)
        self.stack.push_async_callback(self.server.close)
        return self

    async def connect(self):
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self.stack.callback(writer.close)
        return reader, writer

    async def send(self, *pieces):
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
        return await answer(reader)

    def files(self):
        """What is there beside objects, and facts of them."""
        return [each for each in self.objects.rglob("*") if each.is_file() and ".facts" not in each.parts]


async def answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(first.split()[1]), headers, body


@pytest.fixture
async def site(tmp_path):
    with sqlite_store(tmp_path) as store:
        made = Site(tmp_path, store)
        async with asyncio.timeout(DEADLINE_S), made.stack:
            yield made


async def test_an_object_is_what_was_sent(site):
    status, headers, _ = await (await site.start()).send(put("/models/a/b", SIZE), CONTENT)
    assert (status, headers["etag"]) == (200, f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert (site.objects / "models/a/b").read_bytes() == CONTENT
    assert site.files() == [site.objects / "models/a/b"]


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing(site, end):
    _, writer = await (await site.start()).connect()
    writer.write(put("/models/x", SIZE) + CONTENT[: SIZE // 2])
    await until_async(lambda: any(each.stat().st_size for each in site.files()))
    if end == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    await until_async(lambda: not site.files() and not site.server.connections)


async def test_the_end_of_the_service_leaves_nothing(site):
    _, writer = await (await site.start()).connect()
    writer.write(put("/models/x", SIZE) + CONTENT[: SIZE // 2])
    await until_async(lambda: any(each.stat().st_size for each in site.files()))
    await site.server.close()
    await site.handler.close()
    assert site.files() == []


async def test_a_client_that_sends_slowly_has_the_time_that_it_needs(site):
    limits = Limits(head=0.2, body=0.2, idle=0.2, interval=0.02)
    reader, writer = await (await site.start(limits)).connect()
    writer.write(put("/models/x", 20 * LEAST_RECEIVED))
    for start in range(0, 20 * LEAST_RECEIVED, LEAST_RECEIVED):
        writer.write(CONTENT[start : start + LEAST_RECEIVED])
        await asyncio.sleep(0.02)  # all together longer than `body`
    status, _, _ = await answer(reader)
    assert status == 200


async def test_a_client_that_sends_nothing_more_is_refused(site):
    reader, writer = await (await site.start(Limits(head=0.2, body=0.2, idle=0.2, interval=0.02))).connect()
    writer.write(put("/models/x", SIZE) + CONTENT[:1000])
    status, headers, body = await answer(reader)
    assert (status, headers["connection"]) == (400, "close")
    assert b"<Code>RequestTimeout</Code>" in body
    await until_async(lambda: not site.files())


async def test_a_disk_that_is_slow_makes_the_client_wait(site, monkeypatch):
    """What is not written yet is bounded, however much the client sends."""
    held = []
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def write(self, data):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(DEADLINE_S)
        return writing(self, data)

    def receive(self, data):
        receiving(self, data)
        held.append(len(self._pending))

    writing, receiving = incoming.IncomingBody._write, incoming.IncomingBody.receive
    monkeypatch.setattr(incoming.IncomingBody, "_write", write)
    monkeypatch.setattr(incoming.IncomingBody, "receive", receive)
    reader, writer = await (await site.start()).connect()
    writer.write(put("/models/x", SIZE) + CONTENT)
    await until_async(lambda: held and held[-1] >= incoming.FULL)
    (connection,) = site.server.connections
    await until_async(lambda: connection._paused)
    release.set()
    assert (await answer(reader))[0] == 200
    assert max(held) < incoming.FULL + 64 * 1024
    assert (site.objects / "models/x").read_bytes() == CONTENT


# What is refused without its body


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (lambda: f"PUT /models/x HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n".encode(), 403, "AccessDenied"),
        (lambda: put("/models/x", SIZE).replace(b"/models/x", b"/models/y"), 403, "SignatureDoesNotMatch"),
        (lambda: put("/models/x", 2 * SIZE + 1), 400, "EntityTooLarge"),
        (lambda: put("/models/x?acl", SIZE), 501, "NotImplemented"),
        (lambda: put("/models/x", SIZE, x_amz_server_side_encryption="AES256"), 501, "NotImplemented"),
        (lambda: put("/models/x", SIZE, x_amz_acl="public-read"), 400, "AccessControlListNotSupported"),
        (lambda: put("/models/x", SIZE, x_amz_storage_class="GLACIER"), 400, "InvalidStorageClass"),
        (lambda: put("/models/x", SIZE, Content_MD5="x"), 400, "InvalidDigest"),
        (lambda: put("/models/x", SIZE, x_amz_checksum_crc32="x"), 400, "InvalidRequest"),
        (lambda: put("/models/x", SIZE, x_amz_checksum_none="x"), 400, "InvalidRequest"),
        (lambda: put("/models/x", SIZE, "STREAMING-NONE"), 501, "NotImplemented"),
    ],
)
async def test_what_is_wrong_in_the_head_is_refused_without_the_body(site, head, status, code):
    found, headers, body = await (await site.start()).send(head())
    assert (found, headers["connection"]) == (status, "close")
    assert f"<Code>{code}".encode() in body
    assert site.files() == []


async def test_a_body_is_invited_once_the_head_is_right(site):
    reader, writer = await (await site.start()).connect()
    writer.write(put("/models/x", 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hello")
    assert (await answer(reader))[0] == 200


async def test_an_operation_that_is_not_allowed_is_refused_without_the_body(site):
    await site.start(role="viewer")
    status, _, body = await site.send(put("/models/a/x", SIZE))
    assert (status, b"<Code>AccessDenied</Code>" in body, b"s3:PutObject" in body) == (403, True, True)
    copy, _ = signed("PUT", "/models/b", {"x-amz-copy-source": "models/a"}, 0)
    assert (await site.send(copy))[0] == 403
    listed, _ = signed("GET", "/models?list-type=2", {}, 0)
    assert (await site.send(listed))[0] == 200


async def test_a_gateway_reads_objects_and_lists_none(site):
    await site.start(role="gateway")
    listed, _ = signed("GET", "/models?list-type=2", {}, 0)
    status, _, body = await site.send(listed)
    assert (status, b"s3:ListBucket" in body) == (403, True)
    read, _ = signed("GET", "/models/none", {}, 0)
    assert (await site.send(read))[0] == 404


async def test_so_many_bodies_come_at_once(site, monkeypatch):
    monkeypatch.setattr(api, "MOST_INCOMING", 1)
    reader, writer = await (await site.start()).connect()
    writer.write(put("/models/x", SIZE) + CONTENT[:1000])
    await until_async(lambda: len(site.handler._s3._incoming) == 1)
    assert (await site.send(put("/models/y", SIZE)))[0] == 503
    writer.write(CONTENT[1000:])
    assert (await answer(reader))[0] == 200
    assert (await site.send(put("/models/y", SIZE), CONTENT))[0] == 200


# What is wrong in the body


@pytest.mark.parametrize(
    ("headers", "payload", "status", "code"),
    [
        ({}, hashlib.sha256(CONTENT).hexdigest(), 200, ""),
        ({}, hashlib.sha256(b"other").hexdigest(), 400, "XAmzContentSHA256Mismatch"),
        ({"Content_MD5": base64.b64encode(hashlib.md5(CONTENT).digest()).decode()}, "UNSIGNED-PAYLOAD", 200, ""),
        ({"Content_MD5": base64.b64encode(hashlib.md5(b"").digest()).decode()}, "UNSIGNED-PAYLOAD", 400, "BadDigest"),
        (
            {"x_amz_checksum_crc32": base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()},
            "UNSIGNED-PAYLOAD",
            200,
            "",
        ),
        ({"x_amz_checksum_crc64nvme": "AAAAAAAAAAA="}, "UNSIGNED-PAYLOAD", 400, "BadDigest"),
    ],
    ids=str,
)
async def test_a_body_is_held_against_what_was_said_of_it(site, headers, payload, status, code):
    found, _, body = await (await site.start()).send(put("/models/x", SIZE, payload, **headers), CONTENT)
    assert found == status
    assert code.encode() in body
    await until_async(lambda: [each.name for each in site.files()] == (["x"] if status == 200 else []))


def in_chunks(authorization, request, sizes, trailer=b""):
    """As AWS's documentation says it; `request` is the signed head."""
    auth = SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", "eu-west-1")
    previous = authorization.rpartition("Signature=")[2]
    scope = f"{request.context['timestamp'][:8]}/eu-west-1/s3/aws4_request"
    stamp, empty = request.context["timestamp"], hashlib.sha256(b"").hexdigest()
    position, body = 0, b""
    for size in (*sizes, 0):
        chunk = CONTENT[position : position + size]
        digest = hashlib.sha256(chunk).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{digest}"
        previous = auth.signature(text, request)
        body += f"{size:x};chunk-signature={previous}\r\n".encode() + chunk + (b"\r\n" if size else b"")
        position += size
    if trailer:
        digest = hashlib.sha256(trailer + b"\n").hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{stamp}\n{scope}\n{previous}\n{digest}"
        body += trailer + f"\r\nx-amz-trailer-signature:{auth.signature(text, request)}\r\n".encode()
    return body + b"\r\n"


CRC = b"x-amz-checksum-crc32:" + base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("trailer", "change", "status"),
    [
        (b"", None, 200),
        (b"", (b"a" * 5, 1000), 403),
        (CRC, None, 200),
        (b"x-amz-checksum-crc32:AAAAAA==", None, 400),
        (CRC, (b"y", -5), 403),
    ],
)
async def test_signed_chunks(site, trailer, change, status):
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    headers = {"Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": str(SIZE)}
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    head, request = signed("PUT", "/models/x", headers, 0, payload)
    body = bytearray(in_chunks(request.headers["Authorization"], request, [1_000_000, 1_500_000, 500_000], trailer))
    if change is not None:
        replacement, position = change
        body[position : position + len(replacement) or None] = replacement
    head = head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body))
    found, _, answered = await (await site.start()).send(head, bytes(body))
    assert found == status, answered
    if status == 200:
        assert (site.objects / "models/x").read_bytes() == CONTENT
        head, _ = signed("HEAD", "/models/x", {}, 0)
        reader, writer = await site.connect()
        writer.write(head)
        assert b"content-encoding" not in (await reader.readuntil(b"\r\n\r\n")).lower()
    else:
        await until_async(lambda: not site.files())


# A client that leaves while it reads


async def test_a_client_that_leaves_while_it_reads_is_one_line(site):
    (site.objects / "models/x").write_bytes(os.urandom(8_000_000))
    await site.start()
    head, _ = signed("GET", "/models/x", {}, 0)
    with capture_logs() as logs:
        reader, writer = await site.connect()
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await until_async(lambda: not site.server.connections and logs)
    assert [(each["log_level"], each["path"], each["clients"]) for each in logs] == [("info", "/models/x", 1)]
