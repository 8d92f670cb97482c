"""Tries how the broker behaves, on a topic of the doctor's own and under client ids of its own. Decides nothing.

It must never use the gateway's client id or session, nor publish on a device's topic. It leaves nothing behind: what it
cannot remove, the broker drops by its expiry.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from gateway.doctor.checks import broker
from gateway.doctor.probes import connection
from gateway.doctor.probes.addresses import STEP_TIMEOUT
from gateway.doctor.result import ProbeFailure
from gateway.errors import BrokerError
from gateway.mqtt import FAILURE, BrokerEndpoint, ProbeClient

IDLE = 0.5
"""Seconds without a message after which no more is expected."""
VERSION_TOPIC = "$SYS/broker/version"
PUBLISHED = 4 * broker.RECEIVE_MAXIMUM

T = TypeVar("T")


async def probe_behaviour(
    endpoint: BrokerEndpoint, root: str, operator: BrokerEndpoint | None = None
) -> broker.BrokerBehaviour:
    """All that can be learned from outside, in some seconds.

    `operator`: the user who may read $SYS, where the gateway's may not.
    """
    topic = f"{root}/doctor/{secrets.token_hex(6)}"
    own_topic = await attempt(_own_topic(endpoint, topic))
    usable = own_topic is broker.OwnTopic.RECEIVED
    async with asyncio.TaskGroup() as group:
        session = group.create_task(attempt(_session(endpoint, f"{topic}-session", usable)))
        received = group.create_task(_attempt_if(usable, lambda: _received(endpoint, f"{topic}-window")))
        retained = group.create_task(_attempt_if(usable, lambda: _retained(endpoint, f"{topic}-retained")))
        shared = group.create_task(attempt(_shared(endpoint, f"{topic}-shared", usable)))
        version = await attempt(_version(endpoint, operator))
    results = session.result(), received.result(), retained.result(), shared.result()
    return broker.BrokerBehaviour(topic, own_topic, *results, version if isinstance(version, str) else "")


async def probe_client_ids(endpoint: BrokerEndpoint) -> broker.ClientIds | ProbeFailure:
    """Whether client ids are kept and taken over: all other probes depend on it."""
    return await attempt(_client_ids(endpoint))


async def attempt(probe: Awaitable[T]) -> T | ProbeFailure:
    """The result of `probe`, in 4 * STEP_TIMEOUT seconds at most."""
    try:
        async with asyncio.timeout(4 * STEP_TIMEOUT):
            return await probe
    except BrokerError as error:
        return ProbeFailure(str(error))
    except TimeoutError:
        return ProbeFailure(f"the broker did not answer in {4 * STEP_TIMEOUT:g} s")


async def _attempt_if(usable: bool, probe: Callable[[], Awaitable[T]]) -> T | ProbeFailure | None:
    return await attempt(probe()) if usable else None


@asynccontextmanager
async def connected_client(
    endpoint: BrokerEndpoint, session_expiry: int = 0, receive_maximum: int = 65_535
) -> AsyncIterator[ProbeClient]:
    """A client that is connected, and leaves no session behind."""
    own = connection.own_endpoint(endpoint, session_expiry)
    client = ProbeClient(own, receive_maximum)
    try:
        await client.open()
        yield client
    finally:
        await connection.finish_before_cancel(connection.disconnect(client, own))


async def _own_topic(endpoint: BrokerEndpoint, topic: str) -> broker.OwnTopic:
    async with connected_client(endpoint) as client:
        if await client.subscribe(topic) >= FAILURE or await client.publish(topic, b"echo") >= FAILURE:
            return broker.OwnTopic.REFUSED
        return broker.OwnTopic.RECEIVED if await client.receive(STEP_TIMEOUT / 2) else broker.OwnTopic.SILENT


async def _session(endpoint: BrokerEndpoint, topic: str, usable: bool) -> broker.KeptSession:
    kept = connected_client(endpoint, connection.SESSION_EXPIRY)
    async with kept as subscriber, connected_client(endpoint) as publisher:
        await subscriber.subscribe(topic)
        await subscriber.close()
        if usable:
            await publisher.publish(topic, b"meanwhile")
        await subscriber.open()
        present = subscriber.session_present
        messages = (await subscriber.receive(STEP_TIMEOUT / 2)) is not None if usable and present else None
        return broker.KeptSession(present, messages)


async def _received(endpoint: BrokerEndpoint, topic: str) -> int:
    """Messages that arrive where the first alone is acknowledged."""
    limited = connected_client(endpoint, receive_maximum=broker.RECEIVE_MAXIMUM)
    async with limited as subscriber, connected_client(endpoint) as publisher:
        await subscriber.subscribe(topic)
        for number in range(PUBLISHED):
            await publisher.publish(topic, b"%d" % number)
        count = 0
        while message := await subscriber.receive(IDLE):
            count += 1
            if count == 1:
                subscriber.ack(message)
        return count


async def _retained(endpoint: BrokerEndpoint, topic: str) -> bool:
    async with connected_client(endpoint) as publisher:
        try:
            await publisher.publish(topic, b"kept", retain=True, expiry=connection.SESSION_EXPIRY)
            async with connected_client(endpoint) as subscriber:
                await subscriber.subscribe(topic)
                return await subscriber.receive(STEP_TIMEOUT / 2) is not None
        finally:
            if publisher.up:
                await publisher.publish(topic, b"", retain=True)


async def _shared(endpoint: BrokerEndpoint, topic: str, usable: bool) -> broker.SharedSubscription:
    async with connected_client(endpoint) as subscriber, connected_client(endpoint) as publisher:
        code = await subscriber.subscribe(f"$share/doctor/{topic}")
        if code >= FAILURE or not usable:
            return broker.SharedSubscription(code, None)
        await publisher.publish(topic, b"shared")
        return broker.SharedSubscription(code, await subscriber.receive(STEP_TIMEOUT / 2) is not None)


async def _version(*endpoints: BrokerEndpoint | None) -> str:
    """The broker's name and version; empty where none of these users may read it."""
    for endpoint in filter(None, endpoints):
        async with connected_client(endpoint) as client:
            await client.subscribe(VERSION_TOPIC)
            if message := await client.receive(IDLE):
                return message.payload.decode("utf-8", "replace")
    return ""


async def _client_ids(endpoint: BrokerEndpoint) -> broker.ClientIds:
    """Two connections of different client ids, then one more of the first id."""
    own = connection.own_endpoint(endpoint)
    async with AsyncExitStack() as stack:
        first, same = ProbeClient(own), ProbeClient(own)
        for client in (first, same):
            stack.push_async_callback(client.close)
        await first.open()
        await stack.enter_async_context(connected_client(endpoint))
        distinct = not await _disconnects(first, IDLE)
        await same.open()
        return broker.ClientIds(distinct, distinct and await _disconnects(first, STEP_TIMEOUT / 2))


async def _disconnects(client: ProbeClient, seconds: float) -> bool:
    """Whether its connection ends within so many seconds."""
    try:
        await asyncio.wait_for(client.wait_disconnected(), seconds)
    except TimeoutError:
        return False
    return True
