"""Tries the broker's manners out, on a topic of the doctor's own and under client ids of its own. Decides nothing.

It must never use the gateway's client id or session, never speak on a device's topic, and leaves nothing behind: what
it could not take back, the broker drops by its expiry.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from gateway.doctor.facts import WINDOW, Clients, Echo, Fault, Manners, Session, Shared
from gateway.doctor.probe_way import PATIENCE, SESSION, leave, to_its_end, visiting
from gateway.errors import BrokerError
from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.probe_client import ProbeClient

REFUSED = 0x80
"""MQTT 5: reason codes from here on are refusals."""
QUIET = 0.5
"""Seconds of silence after which nothing more is expected."""
VERSION = "$SYS/broker/version"
SENT = 4 * WINDOW

Fact = TypeVar("Fact")


async def try_out(endpoint: BrokerEndpoint, root: str, operator: BrokerEndpoint | None = None) -> Manners:
    """All that can be learned from outside. Takes some seconds, each part PATIENCE at most.

    `operator`: as whom the broker's own topics may be read, where the gateway may not.
    """
    topic = f"{root}/doctor/{secrets.token_hex(6)}"
    echo = await tried(_echo(endpoint, topic))
    heard = echo is Echo.HEARD
    async with asyncio.TaskGroup() as group:
        session = group.create_task(tried(_session(endpoint, f"{topic}-session", heard)))
        window = group.create_task(_where(heard, lambda: _window(endpoint, f"{topic}-window")))
        retained = group.create_task(_where(heard, lambda: _retained(endpoint, f"{topic}-retained")))
        shared = group.create_task(tried(_shared(endpoint, f"{topic}-shared", heard)))
        version = await tried(_version(endpoint, operator))
    found = session.result(), window.result(), retained.result(), shared.result()
    return Manners(topic, echo, *found, version if isinstance(version, str) else "")


async def try_clients(endpoint: BrokerEndpoint) -> Clients | Fault:
    """Whether client ids are what they should be: all else hangs on it."""
    return await tried(_clients(endpoint))


async def tried(probe: Awaitable[Fact]) -> Fact | Fault:
    try:
        async with asyncio.timeout(4 * PATIENCE):
            return await probe
    except BrokerError as error:
        return Fault(str(error))
    except TimeoutError:
        return Fault(f"the broker did not answer in {4 * PATIENCE:g} s")


async def _where(heard: bool, probe: Callable[[], Awaitable[Fact]]) -> Fact | Fault | None:
    return await tried(probe()) if heard else None


@asynccontextmanager
async def connected(
    endpoint: BrokerEndpoint, session_expiry: int = 0, window: int = 65_535
) -> AsyncIterator[ProbeClient]:
    """A client that is connected, and leaves no session behind."""
    here = visiting(endpoint, session_expiry)
    visitor = ProbeClient(here, window)
    try:
        await visitor.open()
        yield visitor
    finally:
        await to_its_end(leave(visitor, here))


async def _echo(endpoint: BrokerEndpoint, topic: str) -> Echo:
    async with connected(endpoint) as visitor:
        if await visitor.subscribe(topic) >= REFUSED or await visitor.publish(topic, b"echo") >= REFUSED:
            return Echo.REFUSED
        return Echo.HEARD if await visitor.hear(PATIENCE / 2) else Echo.SILENT


async def _session(endpoint: BrokerEndpoint, topic: str, heard: bool) -> Session:
    async with connected(endpoint, SESSION) as ear, connected(endpoint) as mouth:
        await ear.subscribe(topic)
        await ear.close()
        if heard:
            await mouth.publish(topic, b"meanwhile")
        await ear.open()
        kept = (await ear.hear(PATIENCE / 2)) is not None if heard and ear.resumed else None
        return Session(ear.resumed, kept)


async def _window(endpoint: BrokerEndpoint, topic: str) -> int:
    """Messages that came after one ack."""
    async with connected(endpoint, window=WINDOW) as ear, connected(endpoint) as mouth:
        await ear.subscribe(topic)
        for number in range(SENT):
            await mouth.publish(topic, b"%d" % number)
        came = 0
        while message := await ear.hear(QUIET):
            came += 1
            if came == 1:
                ear.ack(message)
        return came


async def _retained(endpoint: BrokerEndpoint, topic: str) -> bool:
    async with connected(endpoint) as mouth:
        try:
            await mouth.publish(topic, b"kept", retain=True, expiry=SESSION)
            async with connected(endpoint) as ear:
                await ear.subscribe(topic)
                return await ear.hear(PATIENCE / 2) is not None
        finally:
            if mouth.up:
                await mouth.publish(topic, b"", retain=True)


async def _shared(endpoint: BrokerEndpoint, topic: str, heard: bool) -> Shared:
    async with connected(endpoint) as ear, connected(endpoint) as mouth:
        code = await ear.subscribe(f"$share/doctor/{topic}")
        if code >= REFUSED or not heard:
            return Shared(code, None)
        await mouth.publish(topic, b"shared")
        return Shared(code, await ear.hear(PATIENCE / 2) is not None)


async def _version(*endpoints: BrokerEndpoint | None) -> str:
    """What the broker calls itself; empty where none of these users may read it."""
    for endpoint in filter(None, endpoints):
        async with connected(endpoint) as client:
            await client.subscribe(VERSION)
            if message := await client.hear(QUIET):
                return message.payload.decode("utf-8", "replace")
    return ""


async def _clients(endpoint: BrokerEndpoint) -> Clients:
    """Two of different ids, and then one more of the first's."""
    first = visiting(endpoint)
    async with AsyncExitStack() as stack:
        one, same = ProbeClient(first), ProbeClient(replace(first))
        for visitor in (one, same):
            stack.push_async_callback(visitor.close)
        await one.open()
        await stack.enter_async_context(connected(endpoint))
        beside = not await _is_lost(one, QUIET)
        await same.open()
        return Clients(beside, beside and await _is_lost(one, PATIENCE / 2))


async def _is_lost(visitor: ProbeClient, seconds: float) -> bool:
    """Whether its connection ends within so many seconds."""
    try:
        await asyncio.wait_for(visitor.lost(), seconds)
    except TimeoutError:
        return False
    return True
