"""An MQTT 5 broker of a few lines, which grants and refuses what a test says. It delivers no message.

It must never check what a client sends: it keeps it for the test.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support import mqtt_packets
from tests.support.mqtt_packets import CONNACK, PUBACK, PUBLISH, SUBACK, PacketReader

HOST = "127.0.0.1"
CONNECT, SUBSCRIBE, UNSUBSCRIBE, UNSUBACK, PINGREQ, DISCONNECT = 0x10, 0x80, 0xA0, 0xB0, 0xC0, 0xE0
PINGRESP = b"\xd0\0"


@dataclass(frozen=True, slots=True)
class Publication:
    """A PUBLISH that came. `size`: of the whole packet."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    size: int


@dataclass
class FakeBroker:
    """`properties` of its CONNACK, as they travel. `ends`: whether it closes the connection instead of answering a
    publication, with `reason` in a DISCONNECT, or None: without one. `silent`: it answers nothing after CONNACK.
    `unanswered`: the payload of a publication that gets no PUBACK. `short`: the last filter of a packet gets no code.
    `denied`: the filter that gets "not authorized".

    `ends_at`: the type of other packets at which it does so too. `restarts`: at so many publications it closes all
    connections, before it goes by `ends`.

    `connections`: what was published on each; `requests`: types and sizes of all other packets.
    `times`, `came`: when bytes came. `served`: the tasks of the connections with a CONNECT.
    """

    properties: bytes = b""
    code: int = 0
    ends: Callable[[Publication], bool] = lambda publication: False
    reason: int | None = None
    silent: bool = False
    unanswered: bytes | None = None
    short: bool = False
    denied: bytes | None = None
    ends_at: int | None = None
    restarts: int = 0
    port: int = 0
    connections: list[list[Publication]] = field(default_factory=list)
    requests: list[tuple[int, int]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    came: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    served: set[asyncio.Task[None] | None] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def published(self) -> list[Publication]:
        return [each for connection in self.connections for each in connection]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets, published = PacketReader(), list[Publication]()
        self._writers.add(writer)
        while data := await reader.read(65_536):
            self.times.append(asyncio.get_running_loop().time())
            self.came.release()
            for kind, flags, body in packets.feed(data):
                if kind == CONNECT:
                    self.served.add(asyncio.current_task())
                    self.connections.append(published)
                    length = bytes((len(self.properties),))
                    writer.write(mqtt_packets.packet(CONNACK, bytes((0, self.code)) + length + self.properties))
                    continue
                if kind == PUBLISH:
                    publication, packet_id = _publication(flags, body)
                    published.append(publication)
                    if self.restarts:
                        self.restarts -= 1
                        for each in self._writers:
                            each.close()
                        return
                    if self.ends(publication):
                        if self.reason is not None:
                            writer.write(mqtt_packets.packet(DISCONNECT, bytes((self.reason, 0))))
                        writer.close()
                        return
                    answer = mqtt_packets.packet(PUBACK, packet_id) if publication.qos else b""
                    if publication.payload == self.unanswered:
                        continue
                else:
                    self.requests.append((kind, len(body)))
                    if kind == self.ends_at:
                        writer.close()
                        return
                    answer = _answer(kind, body, self.short, self.denied)
                if not self.silent:
                    writer.write(answer)
        writer.close()


def _publication(flags: int, body: bytes) -> tuple[Publication, bytes]:
    """And its packet id. Properties are short."""
    end = 2 + int.from_bytes(body[:2], "big")
    qos = flags >> 1 & 3
    after = end + (2 if qos else 0)
    payload = body[after + 1 + body[after] :]
    size = len(mqtt_packets.packet(PUBLISH, body))
    return Publication(body[2:end].decode(), payload, qos, bool(flags & 1), size), body[end:after]


def _answer(kind: int, body: bytes, short: bool, denied: bytes | None) -> bytes:
    """To a SUBSCRIBE and an UNSUBSCRIBE, each without properties, and a PINGREQ; else nothing."""
    if kind == PINGREQ:
        return PINGRESP
    if kind not in (SUBSCRIBE, UNSUBSCRIBE):
        return b""
    codes, at = b"", 3
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        codes += b"\x87" if body[at + 2 : end] == denied else b"\1" if kind == SUBSCRIBE else b"\0"
        at = end + (1 if kind == SUBSCRIBE else 0)
    answer = SUBACK if kind == SUBSCRIBE else UNSUBACK
    return mqtt_packets.packet(answer, body[:2] + b"\0" + codes[: len(codes) - short])


@asynccontextmanager
async def serving(broker: FakeBroker) -> AsyncIterator[FakeBroker]:
    """On a port of its own. Afterwards it has read all that was sent, if each client has closed its connection."""
    server = await asyncio.start_server(broker.serve, HOST, 0)
    broker.port = server.sockets[0].getsockname()[1]
    yield broker
    server.close()
    if broker.served:
        await asyncio.wait([each for each in broker.served if each])
