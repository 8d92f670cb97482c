"""The harness does what it says: packets, the cloud's troubles, the proxy. Otherwise a scenario would show nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.faults.cloud import Cloud
from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy
from tests.faults.troubles import DOWN, EXPIRED, KINDS, SKEWED, Judge, always, during, fine, only, share
from tests.support import mqtt_packets as mqtt

HOST = "127.0.0.1"
BODY = json.dumps({"DeviceName": "d", "AgentMetrics": [{"Value": 1, "Timestamp": 1_700_000_001}]}).encode()
TAKEN = {"accepted, answer lost", "wrong JSON", "late"}
"""The kinds in which a heartbeat is accepted."""
NO_ANSWER = {"reset", "accepted, answer lost", "half an answer", "hang"}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_packets_in_pieces(size: int) -> None:
    payload = bytes(300)
    stream = mqtt.puback(7) + mqtt.publish(mqtt.topic("a/b"), payload, 515) + b"\xd0\0"
    reader = mqtt.Reader()
    found = [packet for at in range(0, len(stream), size) for packet in reader.feed(stream[at : at + size])]
    assert [kind for kind, _, _ in found] == [mqtt.PUBACK, mqtt.PUBLISH, 0xD0]
    assert found[0][2] == b"\0\7"
    assert mqtt.published(*found[1][1:]) == (payload, 515)


def test_a_publish_at_qos_0_has_no_packet_id() -> None:
    assert mqtt.published(0, b"\0\1ahello") == (b"hello", None)


def test_a_publish_sent_again_says_so() -> None:
    first, again = (mqtt.publish(mqtt.topic("a"), b"x", 1, retain=True, again=each) for each in (False, True))
    assert (first[0], again[0], first[1:]) == (0x33, 0x3B, again[1:])


@pytest.mark.parametrize(
    ("make", "hits"),
    [
        (lambda: always(DOWN), [True] * 4),
        (lambda: fine, [False] * 4),
        (lambda: only({"d-1"}, always(DOWN)), [False, True, False, False]),
        (lambda: during(60, always(DOWN)), [True] * 4),
        (lambda: during(-1, always(DOWN)), [False] * 4),
        (lambda: share(DOWN, 1.0), [True] * 4),
        (lambda: share(DOWN, 0.0), [False] * 4),
    ],
)
def test_when_troubles_come(make: Callable[[], Judge], hits: list[bool]) -> None:
    judge = make()
    assert [judge("SendHeartbeat", f"d-{index}") is DOWN for index in range(4)] == hits


def test_a_share_is_that_share_and_the_same_each_time() -> None:
    one, other = share(DOWN, 0.3), share(DOWN, 0.3)
    drawn = [one("", "") is DOWN for _ in range(10_000)]
    assert drawn == [other("", "") is DOWN for _ in range(10_000)]
    assert 2_800 < sum(drawn) < 3_200


@asynccontextmanager
async def cloud() -> AsyncIterator[Cloud]:
    """One whose ledger knows of the heartbeat 1 of the device `d`."""
    ledger = Ledger()
    ledger.sent("d", 1, 1_700_000_001)
    made = Cloud(ledger)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def post(made: Cloud, *headers: str) -> bytes:
    """What comes back for one SendHeartbeat: a whole head at least, or what half a second or the end left of it."""
    reader, writer = await asyncio.open_connection(HOST, made.port)
    head = "\r\n".join(["POST /SendHeartbeat HTTP/1.1", f"Content-Length: {len(BODY)}", *headers])
    writer.write(head.encode() + b"\r\n\r\n" + BODY)
    came = b""
    try:
        async with asyncio.timeout(0.5):
            while b"\r\n\r\n" not in came and (piece := await reader.read(1000)):
                came += piece
    except (TimeoutError, ConnectionResetError):
        pass
    writer.transport.abort()
    return came


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_trouble(kind: str) -> None:
    async with cloud() as made:
        made.judge = always(KINDS[kind])
        came = await post(made)
        assert made.ledger.figures().accepted == int(kind in TAKEN)
        assert made.made(kind in TAKEN) == made.made() == 1
        whole = came.startswith(f"HTTP/1.1 {KINDS[kind].status} ".encode()) and b"\r\n\r\n" in came
        assert whole == (kind not in NO_ANSWER)
        assert KINDS[kind].code.encode() in came


async def test_signatures_are_looked_at_where_somebody_looks() -> None:
    async with cloud() as made:
        signed = "Authorization: AWS4-HMAC-SHA256 Credential=one/20260101/x, Signature=0"
        date = time.strftime("X-Amz-Date: %Y%m%dT%H%M%SZ", time.gmtime(time.time() - 600))
        assert b" 200 " in await post(made, signed, date)
        made.good_key = "two"
        assert EXPIRED.code.encode() in await post(made, signed, date)
        made.good_key, made.skew_allowed = "one", 300
        assert SKEWED.code.encode() in await post(made, signed, date)
        made.skew_allowed = 900
        assert b" 200 " in await post(made, signed, date)
        assert made.made(True) == made.made(False) == 2


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
    writer.close()


@asynccontextmanager
async def proxied(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Proxy]:
    """A proxy in front of that server."""
    server = await asyncio.start_server(serve, HOST, 0)
    proxy = Proxy(HOST, server.sockets[0].getsockname()[1])
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def test_a_proxy_changes_nothing_and_cuts() -> None:
    async with proxied(echo) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        for proxy.rate in (None, 100_000):
            data = bytes(range(256)) * 40
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        proxy.cut()
        assert proxy.cuts == 1
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.transport.abort()
