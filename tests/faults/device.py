"""One simulated device: a connection that comes back by itself, and heartbeats that are sent until the broker has them.

It reports to the ledger what it sends and receives. It must never do more than the protocol page asks of a device: what
it sends again, it sends by its own memory alone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from gateway.demo.brokers.address import BrokerLogin
from tests.faults.ledger import Ledger
from tests.support import mqtt_packets as mqtt
from tests.support.payloads import EPOCH, LAYOUT, TAG

RECONNECT_S = 0.2
MOST_UNCONFIRMED = 10_000
MOST_UNACKED = 100
"""A load goes on by the clock: on a slow machine it would bring more than is ever served."""
LONGEST = 8
NO_HELLO = 2
GONE, CONNECTED = b"\x91\0", b"\x92\1\x3c"
"""On `live`: the last will, and that a heartbeat comes each minute."""
HELLO = msgpack.packb([TAG, LAYOUT, EPOCH])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where devices connect, and how many of them may connect at once."""

    host: str
    port: int
    connect_limit: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`wants_acks`: every heartbeat has a seq, which is its number. `resend_after`: seconds after which a heartbeat
    with a seq is sent again if it is not acked, twice as long each time, up to `LONGEST` times: what is sent again
    faster than it is acked would fill the queues with repetitions. None: never. `subscribes`: to `ack`. `says_live`:
    it has a last will, and says at each connection that it is connected."""

    wants_acks: bool = False
    resend_after: float | None = None
    says_live: bool = False

    @property
    def subscribes(self) -> bool:
        return self.wants_acks


@dataclass(slots=True)
class Unacked:
    """A heartbeat with a seq: its payload, when it was sent last, and after how many seconds it is sent again."""

    payload: bytes
    result: str | None
    at: float
    wait: float


@dataclass(slots=True)
class Unconfirmed:
    """A publication without its PUBACK. `number` None: a hello, or a `live`."""

    packet: Callable[[bool], bytes]
    number: int | None
    transmitted: bool = False


@dataclass(slots=True)
class DeviceMemory:
    """What a device knows of its heartbeats, over all its connections."""

    number: int = 0
    packet_id: int = 0
    result: str | None = None
    unconfirmed: dict[int, Unconfirmed] = field(default_factory=dict)
    unacked: dict[int, Unacked] = field(default_factory=dict)


class Device(asyncio.Protocol):
    """`name` within `fleet`; `stay_connected` runs until it is cancelled."""

    def __init__(
        self, endpoint: Endpoint, fleet: str, name: str, credentials: BrokerLogin, ledger: Ledger, behaviour: Behaviour
    ) -> None:
        self.name = name
        self.behaviour = behaviour
        self.is_up = asyncio.Event()
        self.connections = 0
        self.delays: list[float] = []
        """Seconds from each heartbeat to its ack with code 0."""
        self._endpoint = endpoint
        self._path = f"{fleet}/{name}"
        self._credentials = credentials
        self._ledger = ledger
        self._memory = DeviceMemory()
        self._reader = mqtt.PacketReader()
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._topics = {channel: mqtt.text(f"edge/{self._path}/{channel}") for channel in ("hello", "hb", "live")}
        self._loop = asyncio.get_running_loop()

    @property
    def may_send(self) -> bool:
        """Whether it may send more before the broker has confirmed some, and the gateway acked some."""
        memory = self._memory
        return len(memory.unconfirmed) < MOST_UNCONFIRMED and len(memory.unacked) < MOST_UNACKED

    @property
    def all_confirmed(self) -> bool:
        """Whether the broker confirmed all that was sent."""
        return not self._memory.unconfirmed

    async def stay_connected(self) -> None:
        """Connect, and connect again whenever the connection ends."""
        while True:
            async with self._endpoint.connect_limit:
                await self._connect()
            await self._closed.wait()
            await asyncio.sleep(RECONNECT_S)

    async def _connect(self) -> None:
        """Return once the broker accepted the connection, or it is closed."""
        self._closed.clear()
        try:
            await self._loop.create_connection(lambda: self, self._endpoint.host, self._endpoint.port)
        except OSError:
            self._closed.set()
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self.is_up, self._closed)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    # What it sends

    def hello(self) -> None:
        self._publish("hello", HELLO, None)

    def beat(self, count: int = 1) -> None:
        """Heartbeats, each with its number as its time and its only sample."""
        for _ in range(count):
            memory = self._memory
            memory.number += 1
            seq = memory.number if self.behaviour.wants_acks else None
            result = None if memory.result is None else [memory.result, "SUCCESS"]
            payload = msgpack.packb([TAG, memory.number, [memory.number], None, None, result, seq])
            if seq is not None:
                memory.unacked[seq] = Unacked(
                    payload, memory.result, self._loop.time(), self.behaviour.resend_after or 0.0
                )
            self._heartbeat(memory.number, payload, memory.result)

    def report_result(self, name: str) -> None:
        """From now on each heartbeat carries this result, until one that had it was acked with code 0."""
        self._memory.result = name

    def resend(self) -> None:
        """Send again each heartbeat with a seq that was not acked in time."""
        limit = self.behaviour.resend_after
        if limit is None or not self.is_up.is_set():
            return
        now = self._loop.time()
        for number, unacked in self._memory.unacked.items():
            if now - unacked.at > unacked.wait:
                unacked.at, unacked.wait = now, min(2 * unacked.wait, LONGEST * limit)
                self._heartbeat(number, unacked.payload, unacked.result)

    def _heartbeat(self, number: int, payload: bytes, result: str | None) -> None:
        self._ledger.sent(self.name, number, EPOCH + number, number if self.behaviour.wants_acks else None, result)
        self._publish("hb", payload, number)

    def _publish(self, channel: str, payload: bytes, number: int | None) -> None:
        memory, topic = self._memory, self._topics[channel]
        memory.packet_id = packet_id = memory.packet_id % 0xFFFF + 1
        assert packet_id not in memory.unconfirmed, f"{self.name} has no packet id left"
        retain = channel != "hb"
        waiting = Unconfirmed(lambda dup: mqtt.publish(topic, payload, packet_id, retain, dup), number)
        memory.unconfirmed[packet_id] = waiting
        if self.is_up.is_set():
            self._transmit(waiting)

    def _transmit(self, waiting: Unconfirmed) -> None:
        assert self._transport is not None
        self._transport.write(waiting.packet(waiting.transmitted))
        waiting.transmitted = True

    # What it receives

    def connection_made(self, transport: Any) -> None:
        self._reader, self._transport = mqtt.PacketReader(), transport
        will = (self._topics["live"], GONE) if self.behaviour.says_live else None
        login = self._credentials.user, self._credentials.password
        transport.write(mqtt.connect(self._path.replace("/", "."), *login, will=will))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.is_up.clear()
        self._closed.set()

    def data_received(self, data: bytes) -> None:
        for kind, flags, body in self._reader.feed(data):
            if kind == mqtt.PUBACK:
                self._on_puback(int.from_bytes(body[:2], "big"))
            elif kind == mqtt.PUBLISH:
                _, payload, packet_id = mqtt.parse_publish(flags, body)
                self._on_publish(payload, packet_id)
            elif kind == mqtt.CONNACK:
                assert body[1] == 0, f"{self._path} was refused: {body[1]}"
                self._on_connack()

    def _on_connack(self) -> None:
        assert self._transport is not None
        if self.behaviour.subscribes:
            self._transport.write(mqtt.subscribe(0xFFFF, f"edge/{self._path}/ack"))
        self.is_up.set()
        self.connections += 1
        for waiting in self._memory.unconfirmed.values():
            self._transmit(waiting)
        if self.behaviour.says_live:
            self._publish("live", CONNECTED, None)

    def _on_puback(self, packet_id: int) -> None:
        waiting = self._memory.unconfirmed.pop(packet_id, None)
        if waiting is not None and waiting.number is not None:
            self._ledger.confirmed(self.name, waiting.number)

    def _on_publish(self, payload: bytes, packet_id: int | None) -> None:
        if packet_id is not None and self._transport is not None:
            self._transport.write(mqtt.puback(packet_id))
        seq, code, *_ = msgpack.unpackb(payload)
        if seq is not None:
            self._acked(seq, code)

    def _acked(self, seq: int, code: int) -> None:
        self._ledger.acked(self.name, seq, code)
        if code == NO_HELLO:
            self.hello()
            if seq in self._memory.unacked:  # it was sent again, and may be acked already
                self._memory.unacked[seq].at = float("-inf")
            return
        unacked = self._memory.unacked.pop(seq, None)
        if code == 0 and unacked is not None:
            self.delays.append(self._loop.time() - unacked.at)
            if unacked.result == self._memory.result:
                self._memory.result = None

    def close(self) -> None:
        """DISCONNECT."""
        if self._transport is not None:
            self._transport.write(mqtt.DISCONNECT)
            self._transport.close()
