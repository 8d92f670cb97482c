"""The parts of a scenario do what they promise: packets, the faults of the service, the proxy."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.manager.store.tables import METADATA
from tests.faults import whole_database
from tests.faults.ledger import Ledger
from tests.faults.service import FaultyEdgeManager
from tests.faults.service_faults import EXPIRED, KINDS, SKEWED, during, only, share
from tests.support import mqtt_packets as mqtt
from tests.support.edge_manager import UNAVAILABLE, Request, Rule, accept_all, always
from tests.support.tcp_proxy import TcpProxy

HOST = "127.0.0.1"
BODY = json.dumps({"DeviceName": "d", "AgentMetrics": [{"Value": 1, "Timestamp": 1_700_000_001}]}).encode()
TAKEN = {"accepted, answer lost", "wrong JSON", "late"}
"""The kinds in which a heartbeat is accepted."""
NO_ANSWER = {"reset", "accepted, answer lost", "half an answer", "hang"}


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_packets_in_pieces(size: int) -> None:
    payload = bytes(300)
    stream = mqtt.puback(7) + mqtt.publish(mqtt.text("a/b"), payload, 515) + b"\xd0\0"
    reader = mqtt.PacketReader()
    found = [packet for at in range(0, len(stream), size) for packet in reader.feed(stream[at : at + size])]
    assert [kind for kind, _, _ in found] == [mqtt.PUBACK, mqtt.PUBLISH, 0xD0]
    assert found[0][2] == b"\0\7"
    assert mqtt.parse_publish(*found[1][1:]) == ("a/b", payload, 515)


def test_a_publish_at_qos_0_has_no_packet_id() -> None:
    assert mqtt.parse_publish(0, b"\0\1ahello") == ("a", b"hello", None)


def test_a_publish_sent_again_says_so() -> None:
    first, second = (mqtt.publish(mqtt.text("a"), b"x", 1, retain=True, dup=each) for each in (False, True))
    assert (first[0], second[0], first[1:]) == (0x33, 0x3B, second[1:])


def request(device: str = "") -> Request:
    """A SendHeartbeat."""
    return Request(b"POST /SendHeartbeat HTTP/1.1", json.dumps({"DeviceName": device}).encode())


@pytest.mark.parametrize(
    ("make", "hits"),
    [
        (lambda: always(UNAVAILABLE), [True] * 4),
        (lambda: accept_all, [False] * 4),
        (lambda: only({"d-1"}, always(UNAVAILABLE)), [False, True, False, False]),
        (lambda: during(60, always(UNAVAILABLE)), [True] * 4),
        (lambda: during(-1, always(UNAVAILABLE)), [False] * 4),
        (lambda: share(UNAVAILABLE, 1.0), [True] * 4),
        (lambda: share(UNAVAILABLE, 0.0), [False] * 4),
    ],
)
def test_when_a_rule_applies(make: Callable[[], Rule], hits: list[bool]) -> None:
    rule = make()
    assert [rule(request(f"d-{index}")) is UNAVAILABLE for index in range(4)] == hits


def test_a_share_is_that_share_and_the_same_each_time() -> None:
    one, other = share(UNAVAILABLE, 0.3), share(UNAVAILABLE, 0.3)
    drawn = [one(request()) is UNAVAILABLE for _ in range(10_000)]
    assert drawn == [other(request()) is UNAVAILABLE for _ in range(10_000)]
    assert 2_800 < sum(drawn) < 3_200


@asynccontextmanager
async def running() -> AsyncIterator[FaultyEdgeManager]:
    """One whose ledger knows of the heartbeat 1 of the device `d`."""
    ledger = Ledger()
    ledger.sent("d", 1, 1_700_000_001)
    made = FaultyEdgeManager(ledger)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


FINAL_HEAD = re.compile(rb"HTTP/1.1 [2-5]\d\d .*?\r\n\r\n", re.DOTALL)


async def post(made: FaultyEdgeManager, *headers: str, within: float = 10) -> bytes:
    """What comes back for one SendHeartbeat: the whole final head, or what the end left of it, or `within` seconds."""
    reader, writer = await asyncio.open_connection(HOST, made.port)
    head = "\r\n".join(["POST /SendHeartbeat HTTP/1.1", f"Content-Length: {len(BODY)}", *headers])
    writer.write(head.encode() + b"\r\n\r\n" + BODY)
    came = b""
    try:
        async with asyncio.timeout(within):
            while not FINAL_HEAD.search(came) and (piece := await reader.read(1000)):
                came += piece
    except (TimeoutError, ConnectionResetError):
        pass
    writer.transport.abort()
    return came


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_fault(kind: str) -> None:
    async with running() as made:
        made.rule = always(KINDS[kind])
        came = await post(made, within=2 if kind == "hang" else 10)
        assert made.ledger.figures().accepted == int(kind in TAKEN)
        assert made.count(kind in TAKEN) == made.count() == 1
        whole = f"HTTP/1.1 {KINDS[kind].status} ".encode() in came and b"\r\n\r\n" in came
        assert whole == (kind not in NO_ANSWER)
        assert KINDS[kind].code.encode() in came


async def test_signatures_are_checked_where_a_scenario_asks_for_it() -> None:
    async with running() as made:
        signed = "Authorization: AWS4-HMAC-SHA256 Credential=one/20260101/x, Signature=0"
        date = time.strftime("X-Amz-Date: %Y%m%dT%H%M%SZ", time.gmtime(time.time() - 600))
        assert b" 200 " in await post(made, signed, date)
        made.good_key = "two"
        assert EXPIRED.code.encode() in await post(made, signed, date)
        made.good_key, made.skew_allowed = "one", 300
        assert SKEWED.code.encode() in await post(made, signed, date)
        made.skew_allowed = 900
        assert b" 200 " in await post(made, signed, date)
        assert made.count(True) == made.count(False) == 2


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
    writer.close()


@asynccontextmanager
async def proxied(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[TcpProxy]:
    """A proxy in front of that server."""
    server = await asyncio.start_server(serve, HOST, 0)
    proxy = TcpProxy(HOST, server.sockets[0].getsockname()[1])
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


def test_each_table_of_the_manager_is_checked() -> None:
    assert whole_database.CHECKS.keys() == METADATA.tables.keys()
