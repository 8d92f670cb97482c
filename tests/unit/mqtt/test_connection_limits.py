"""A connection keeps to what the broker grants, and gives up what ends it again and again."""

import asyncio
from collections.abc import Callable
from statistics import median

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerClosed, BrokerError, BrokerRefused
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.packets import user_properties
from gateway.mqtt.reasons import CLOSED, PACKET_TOO_LARGE
from gateway.mqtt.session import MqttSession
from tests.support.arrivals import DEADLINE_S
from tests.support.mqtt_broker import HOST, SUBSCRIBE, UNSUBSCRIBE, FakeBroker, Publication, serving
from tests.unit.mqtt.test_session import Deliveries
from tests.unit.mqtt.timeouts import set_timeout

KEEPALIVE_S = 1
TIMEOUT_S = 1.0
SHUTTING_DOWN = 0x8B


def server_keepalive(seconds: int) -> bytes:
    return b"\x13" + seconds.to_bytes(2, "big")


def largest_packet(size: int) -> bytes:
    return b"\x27" + size.to_bytes(4, "big")


RECEIVE_MAXIMUM_1 = b"\x21\0\1"
QOS_0 = b"\x24\0"
NO_RETAIN = b"\x25\0"
NO_WILDCARDS = b"\x28\0"
NO_SHARED = b"\x2a\0"


def connection_to(broker: FakeBroker, keepalive: int = 30) -> BrokerConnection:
    return BrokerConnection(BrokerEndpoint(HOST, broker.port, "c", keepalive=keepalive), lambda message: None)


class Reasons:
    """The reason codes of publications by their payloads."""

    def __init__(self, connection: BrokerConnection) -> None:
        self.of: dict[bytes, int] = {}
        self._connection = connection
        self._changed = asyncio.Event()

    def publish(self, payload: bytes, retain: bool = False, properties: bytes = b"") -> None:
        self._connection.publish("edge/f/d/ack", payload, retain, properties, lambda reason: self._set(payload, reason))

    def _set(self, payload: bytes, reason: int) -> None:
        assert payload not in self.of
        self.of[payload] = reason
        self._changed.set()

    async def all_known(self, count: int, reopen: bool = False) -> None:
        """Wait for so many; `reopen`: connect again as often as needed."""
        while len(self.of) < count:
            self._changed.clear()
            waits = [asyncio.ensure_future(self._changed.wait())]
            if reopen:
                waits.append(asyncio.ensure_future(self._connection.disconnected.wait()))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            if reopen and not self._connection.up:
                await self._connection.open()


def session_to(broker: FakeBroker) -> MqttSession:
    return MqttSession(BrokerEndpoint(HOST, broker.port, "c"), ["edge/+/+/hb"], Deliveries(1), receive_maximum=10)


async def opened_until(session: MqttSession, done: Callable[[], bool]) -> None:
    """Open the session as often as needed."""
    async with asyncio.timeout(DEADLINE_S):
        while not done():
            try:
                await session.open()
            except BrokerError:
                pass  # it ended as it opened
            await asyncio.sleep(0)


async def test_the_keep_alive_of_the_broker_is_kept() -> None:
    async with serving(FakeBroker(server_keepalive(KEEPALIVE_S))) as broker:
        connection = connection_to(broker, keepalive=60)
        await connection.open()
        for _ in range(6):
            await broker.came.acquire()
        await connection.close()
    gaps = [later - sooner for sooner, later in zip(broker.times, broker.times[1:], strict=False)]
    assert median(gaps) < 1.5 * KEEPALIVE_S, "a machine that is busy may be late once"


@pytest.mark.parametrize("granted", [0, 600])
async def test_a_dead_broker_is_noticed_whatever_keep_alive_it_granted(granted: int) -> None:
    async with serving(FakeBroker(server_keepalive(granted), silent=True)) as broker:
        connection = connection_to(broker, keepalive=KEEPALIVE_S)
        await connection.open()
        await connection.disconnected.wait()
        assert "keep alive" in connection.disconnect_reason
        await connection.close()


async def test_a_publication_is_measured_exactly() -> None:
    """Topic, properties and payload: what fits to the byte is sent."""
    properties = user_properties([("topic", "edge/f/d/hb")])
    head = 1 + 2 + 2 + len("edge/f/d/ack") + 2 + 1 + len(properties)
    async with serving(FakeBroker(largest_packet(4096))) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        fits, exceeds = bytes(4096 - head), bytes(4096 - head + 1)
        reasons.publish(fits, properties=properties)
        reasons.publish(exceeds, properties=properties)
        reasons.publish(b"after")
        await reasons.all_known(3)
        await connection.close()
    assert reasons.of == {fits: 0, exceeds: PACKET_TOO_LARGE, b"after": 0}
    assert [each.size for each in broker.published] == [4096, 1 + 1 + 2 + 12 + 2 + 1 + 5]


async def test_a_subscription_is_split_into_packets_that_the_broker_takes() -> None:
    filters = [f"edge/f/device-{number}/hello" for number in range(100)]
    async with serving(FakeBroker(largest_packet(200))) as broker:
        connection = connection_to(broker)
        await connection.open()
        granted = await connection.subscribe([(each, SubscribeOptions(qos=1)) for each in filters])
        await connection.unsubscribe(filters)
        await connection.close()
    assert [reason.value for reason in granted] == [1] * 100
    for kind in (SUBSCRIBE, UNSUBSCRIBE):
        sizes = [size for sent, size in broker.requests if sent == kind]
        assert len(sizes) > 10
        assert max(sizes) + 3 <= 200


async def test_without_retained_messages_a_publication_is_sent_not_retained() -> None:
    async with serving(FakeBroker(NO_RETAIN)) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(b"plan", retain=True)
        await reasons.all_known(1)
        await connection.close()
    assert reasons.of == {b"plan": 0}
    assert [(each.retain, each.qos) for each in broker.published] == [(False, 1)]


async def test_without_qos_1_a_publication_is_confirmed_once_it_is_sent() -> None:
    large = bytes(10_000_000)
    async with serving(FakeBroker(QOS_0)) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(large)
        assert reasons.of == {}
        for number in range(3000):
            reasons.publish(b"%d" % number)
        await reasons.all_known(3001)
        await connection.close()
    assert set(reasons.of.values()) == {0}
    assert {each.qos for each in broker.published} == {0}


async def test_receive_maximum_is_kept() -> None:
    async with serving(FakeBroker(RECEIVE_MAXIMUM_1, silent=True)) as broker:
        connection = connection_to(broker, keepalive=KEEPALIVE_S)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(b"1")
        reasons.publish(b"2")
        await connection.disconnected.wait()
        await connection.close()
    assert [each.payload for each in broker.published] == [b"1"]


@pytest.mark.parametrize(("reason", "given_up", "times"), [(0x95, CLOSED | 0x95, 2), (None, CLOSED, 3)])
@pytest.mark.parametrize("before", [0, 1, 20])
async def test_what_ends_each_connection_is_given_up(
    before: int, reason: int | None, given_up: int, times: int
) -> None:
    """And nothing else: neither what was in flight before and behind it, nor what comes later."""

    def is_culprit(publication: Publication) -> bool:
        return publication.payload == b"culprit"

    async with serving(FakeBroker(ends=is_culprit, reason=reason)) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        innocent = [b"%d" % number for number in range(2 * before + 1)]
        for payload in [*innocent[:before], b"culprit", *innocent[before:]]:
            reasons.publish(payload)
        await reasons.all_known(len(innocent) + 1, reopen=True)
        await connection.close()
    assert reasons.of == dict.fromkeys(innocent, 0) | {b"culprit": given_up}
    assert sum(map(is_culprit, broker.published)) == times


async def test_two_closes_without_a_reason_are_not_blamed_on_what_was_in_flight() -> None:
    ends = iter([True, True])
    async with serving(FakeBroker(ends=lambda publication: next(ends, False))) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(b"plan")
        await reasons.all_known(1, reopen=True)
        await connection.close()
    assert reasons.of == {b"plan": 0}


async def test_restarts_of_the_broker_are_not_blamed_on_what_was_in_flight() -> None:
    """However often: each ends both connections."""
    async with serving(FakeBroker(restarts=6)) as broker:
        session = session_to(broker)
        await session.open()
        reasons: list[int] = []
        session.publish("edge/f/d/plan", b"plan", reasons.append)
        await opened_until(session, lambda: bool(reasons))
        await session.close()
    assert reasons == [0]
    assert len(broker.published) == 7


async def test_what_no_longer_fits_after_a_close_does_not_hold_back_subscriptions() -> None:
    """The broker came back with a lower limit: the suspect is not sent, and so is none any more."""
    async with serving(FakeBroker(ends=lambda publication: True)) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(bytes(5000))
        await connection.disconnected.wait()
        broker.properties = largest_packet(1000)
        await connection.open()
        async with asyncio.timeout(DEADLINE_S):
            await reasons.all_known(1)
            await connection.subscribe([("edge/f/d/hello", SubscribeOptions(qos=0))])
        await connection.close()
    assert reasons.of == {bytes(5000): PACKET_TOO_LARGE}


async def test_one_without_a_puback_holds_back_the_others_for_no_longer_than_the_timeout() -> None:
    """After a close, when each is sent alone; the broker answers everything else."""
    ends = iter([True])
    async with serving(FakeBroker(ends=lambda publication: next(ends, False), unanswered=b"1")) as broker:
        connection = BrokerConnection(
            BrokerEndpoint(HOST, broker.port, "c"),
            lambda message: None,
            lambda session_present: set_timeout(connection, TIMEOUT_S),
        )
        await connection.open()
        reasons = Reasons(connection)
        payloads = [b"%d" % number for number in range(30)]
        for payload in payloads:
            reasons.publish(payload)
        await connection.disconnected.wait()
        set_timeout(connection, DEADLINE_S)
        await connection.open()
        async with asyncio.timeout(DEADLINE_S):
            await reasons.all_known(len(payloads) - 1)
            await connection.subscribe([("edge/f/d/hello", SubscribeOptions(qos=0))])
        await connection.close()
    assert reasons.of == {payload: 0 for payload in payloads if payload != b"1"}


async def test_a_connection_that_ends_for_another_reason_gives_up_nothing() -> None:
    ends = iter([True] * 5)
    async with serving(FakeBroker(ends=lambda publication: next(ends, False), reason=SHUTTING_DOWN)) as broker:
        connection = connection_to(broker)
        await connection.open()
        reasons = Reasons(connection)
        reasons.publish(b"1")
        await reasons.all_known(1, reopen=True)
        await connection.close()
    assert reasons.of == {b"1": 0}
    assert len(broker.published) == 6


async def test_a_refusal_says_the_reason_and_what_to_do() -> None:
    why = b"\x1f\0\x04full"
    async with serving(FakeBroker(why, code=0x97)) as broker:
        with pytest.raises(BrokerRefused, match=r"Quota exceeded \(0x97, full\): raise the broker's quotas") as refused:
            await connection_to(broker).open()
    assert refused.value.code == 0x97


@pytest.mark.parametrize(
    ("properties", "filters", "said"),
    [(NO_WILDCARDS, ["edge/+/+/hb"], "Wildcard"), (NO_SHARED, ["$share/g/edge/+/+/hb"], "Shared")],
)
async def test_a_subscription_that_the_broker_does_not_have_is_not_sent(
    properties: bytes, filters: list[str], said: str
) -> None:
    async with serving(FakeBroker(properties)) as broker:
        session = MqttSession(BrokerEndpoint(HOST, broker.port, "c"), filters, Deliveries(1), receive_maximum=10)
        with pytest.raises(BrokerError, match=f"refuses to subscribe: {said} subscriptions not supported"):
            await session.open()
        await session.close()
    assert SUBSCRIBE not in {kind for kind, _ in broker.requests}


async def test_an_answer_without_a_code_for_each_filter_is_an_error_of_the_broker() -> None:
    async with serving(FakeBroker(short=True)) as broker:
        session = MqttSession(BrokerEndpoint(HOST, broker.port, "c"), ["a", "b"], Deliveries(1), receive_maximum=10)
        with pytest.raises(BrokerError, match="answers 1 of 2 filters: this should not happen"):
            await session.open()
        await session.close()


async def test_without_an_optional_subscription_it_is_up() -> None:
    """A broker that an earlier version was let in by may not know the newest channel."""
    async with serving(FakeBroker(denied=b"edge/+/+/live")) as broker:
        endpoint, filters = BrokerEndpoint(HOST, broker.port, "c"), ["edge/+/+/hb", "edge/+/+/live"]
        session = MqttSession(endpoint, filters, Deliveries(1), receive_maximum=10)
        with pytest.raises(BrokerError, match=r"refuses to subscribe edge/\+/\+/live: Not authorized"):
            await session.open()
        await session.close()
        session = MqttSession(endpoint, filters, Deliveries(1), receive_maximum=10, optional=filters[1:])
        await session.open()
        assert session.up
        assert [each.split(":")[0] for each in session.refused] == ["edge/+/+/live"]
        await session.close()


async def test_a_subscription_that_ends_each_connection_is_given_up() -> None:
    """And no publication beside it."""
    async with serving(FakeBroker()) as broker:
        session = session_to(broker)
        await session.open()
        broker.ends_at = SUBSCRIBE
        reading = asyncio.create_task(session.read_retained(["edge/f/d/hello"], lambda: None, linger=1.0))
        reasons: list[int] = []
        connections = len(broker.connections)
        while not reading.done():
            lost = asyncio.create_task(session.wait_disconnected())
            session.publish("edge/f/d/ack", b"beside it", reasons.append)
            await asyncio.wait([lost, reading], return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            if not session.up and not reading.done():
                await session.open()
        with pytest.raises(BrokerClosed):
            await reading
        assert len(broker.connections) == connections + 3
        await session.open()
        after = asyncio.get_running_loop().create_future()
        session.publish("edge/f/d/ack", b"after", after.set_result)
        assert await after == 0
        await session.close()
    assert set(reasons) == {0}
