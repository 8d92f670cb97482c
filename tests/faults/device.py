"""One simulated device: a connection that comes back by itself, and heartbeats that are sent until the broker has them.

It tells the ledger what it sends and hears. It must never make its own promise wider than the protocol page's: what it
sends again, it sends as a device would that has no other memory than its own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from gateway.demo.brokers.address import BrokerLogin
from tests.faults import mqtt
from tests.faults.ledger import Ledger
from tests.integration.forms import EPOCH, LAYOUT, TAG

RECONNECT_S = 0.2
MOST_UNCONFIRMED = 10_000
NO_HELLO = 2
HELLO = msgpack.packb([TAG, LAYOUT, EPOCH])


@dataclass(frozen=True, slots=True)
class Door:
    """Where devices connect, and the gate that lets so many of them connect at once."""

    host: str
    port: int
    gate: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Habits:
    """`asks`: every heartbeat has a seq, which is its number. `again_after`: seconds after which what was asked for and
    not acked is sent again; None: never. `listens`: it subscribes to `ack`."""

    asks: bool = False
    again_after: float | None = None

    @property
    def listens(self) -> bool:
        return self.asks


@dataclass(slots=True)
class Unacked:
    """A heartbeat that asked for an ack: its payload, and when it was sent last."""

    payload: bytes
    result: str | None
    at: float


@dataclass(slots=True)
class Unconfirmed:
    """A publication without its PUBACK. `number` None: a hello."""

    packet: Callable[[bool], bytes]
    number: int | None
    flown: bool = False


@dataclass(slots=True)
class Mind:
    """What a device knows of its heartbeats, over all its connections."""

    number: int = 0
    packet_id: int = 0
    result: str | None = None
    unconfirmed: dict[int, Unconfirmed] = field(default_factory=dict)
    unacked: dict[int, Unacked] = field(default_factory=dict)


class Device(asyncio.Protocol):
    """`name` within `fleet`; `live` keeps it connected until it is cancelled."""

    def __init__(
        self, door: Door, fleet: str, name: str, credentials: BrokerLogin, ledger: Ledger, habits: Habits
    ) -> None:
        self.name = name
        self.habits = habits
        self.is_up = asyncio.Event()
        self.delays: list[float] = []
        """Seconds from each heartbeat to its ack with code 0."""
        self._door = door
        self._path = f"{fleet}/{name}"
        self._credentials = credentials
        self._ledger = ledger
        self._mind = Mind()
        self._reader = mqtt.Reader()
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self._topics = {channel: mqtt.topic(f"edge/{self._path}/{channel}") for channel in ("hello", "hb")}
        self._loop = asyncio.get_running_loop()

    @property
    def has_room(self) -> bool:
        """Whether it may send more before the broker has confirmed some."""
        return len(self._mind.unconfirmed) < MOST_UNCONFIRMED

    @property
    def is_quiet(self) -> bool:
        """Whether the broker confirmed all that was sent."""
        return not self._mind.unconfirmed

    async def live(self) -> None:
        """Connect, and connect again whenever the connection ends."""
        while True:
            async with self._door.gate:
                await self._connect()
            await self._gone.wait()
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self) -> None:
        """Return once the broker let us in, or the connection is gone."""
        self._gone.clear()
        try:
            await self._loop.create_connection(lambda: self, self._door.host, self._door.port)
        except OSError:
            self._gone.set()
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self.is_up, self._gone)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    # What it says

    def hello(self) -> None:
        self._publish("hello", HELLO, None)

    def beat(self, count: int = 1) -> None:
        """Heartbeats, each with its number as its time and its only sample."""
        for _ in range(count):
            mind = self._mind
            mind.number += 1
            seq = mind.number if self.habits.asks else None
            result = None if mind.result is None else [mind.result, "SUCCESS"]
            payload = msgpack.packb([TAG, mind.number, [mind.number], None, None, result, seq])
            if seq is not None:
                mind.unacked[seq] = Unacked(payload, mind.result, self._loop.time())
            self._heartbeat(mind.number, payload, mind.result)

    def deployed(self, name: str) -> None:
        """From now on each heartbeat carries this result, until one that had it was acked with code 0."""
        self._mind.result = name

    def again(self) -> None:
        """Send again what was asked for and not acked in time."""
        patience = self.habits.again_after
        if patience is None or not self.is_up.is_set():
            return
        now = self._loop.time()
        for number, unacked in self._mind.unacked.items():
            if now - unacked.at > patience:
                unacked.at = now
                self._heartbeat(number, unacked.payload, unacked.result)

    def _heartbeat(self, number: int, payload: bytes, result: str | None) -> None:
        self._ledger.sent(self.name, number, EPOCH + number, number if self.habits.asks else None, result)
        self._publish("hb", payload, number)

    def _publish(self, channel: str, payload: bytes, number: int | None) -> None:
        mind, topic = self._mind, self._topics[channel]
        mind.packet_id = packet_id = mind.packet_id % 0xFFFF + 1
        assert packet_id not in mind.unconfirmed, f"{self.name} has no packet id left"
        retain = channel == "hello"
        waiting = Unconfirmed(lambda again: mqtt.publish(topic, payload, packet_id, retain, again), number)
        mind.unconfirmed[packet_id] = waiting
        if self.is_up.is_set():
            self._fly(waiting)

    def _fly(self, waiting: Unconfirmed) -> None:
        assert self._transport is not None
        self._transport.write(waiting.packet(waiting.flown))
        waiting.flown = True

    # What it hears

    def connection_made(self, transport: Any) -> None:
        self._reader, self._transport = mqtt.Reader(), transport
        transport.write(mqtt.connect(self._path.replace("/", "."), self._credentials.user, self._credentials.password))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.is_up.clear()
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        for kind, flags, body in self._reader.feed(data):
            if kind == mqtt.PUBACK:
                self._confirmed(int.from_bytes(body[:2], "big"))
            elif kind == mqtt.PUBLISH:
                self._heard(*mqtt.published(flags, body))
            elif kind == mqtt.CONNACK:
                assert body[1] == 0, f"{self._path} was not let in: {body[1]}"
                self._let_in()

    def _let_in(self) -> None:
        assert self._transport is not None
        if self.habits.listens:
            self._transport.write(mqtt.subscribe(0xFFFF, f"edge/{self._path}/ack"))
        self.is_up.set()
        for waiting in self._mind.unconfirmed.values():
            self._fly(waiting)

    def _confirmed(self, packet_id: int) -> None:
        waiting = self._mind.unconfirmed.pop(packet_id, None)
        if waiting is not None and waiting.number is not None:
            self._ledger.confirmed(self.name, waiting.number)

    def _heard(self, payload: bytes, packet_id: int | None) -> None:
        if packet_id is not None and self._transport is not None:
            self._transport.write(mqtt.puback(packet_id))
        seq, code, *_ = msgpack.unpackb(payload)
        if seq is not None:
            self._acked(seq, code)

    def _acked(self, seq: int, code: int) -> None:
        self._ledger.acked(self.name, seq, code)
        if code == NO_HELLO:
            self.hello()
            self._mind.unacked[seq].at = float("-inf")
            return
        unacked = self._mind.unacked.pop(seq, None)
        if code == 0 and unacked is not None:
            self.delays.append(self._loop.time() - unacked.at)
            if unacked.result == self._mind.result:
                self._mind.result = None

    def close(self) -> None:
        """DISCONNECT."""
        if self._transport is not None:
            self._transport.write(mqtt.DISCONNECT)
            self._transport.close()
