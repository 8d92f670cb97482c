"""Devices that read a model file, a window at a time as the SDK does, over a few raw MQTT 3.1.1 connections.

Made to cost little beside what is measured: no client library, one thread, and what came is checked at the end.
"""

import hashlib
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack

from tests.support import mqtt_packets

RECEIVE = 1 << 18
WINDOW = 4096
"""Bytes that a device asks for at once, as the SDK does."""


class Connection:
    """One connection, QoS 1 both ways. `messages` acks what it yields."""

    def __init__(self, port: int, client_id: str, filters: Iterable[str]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._packets = mqtt_packets.PacketReader()
        self._out = bytearray()
        self._packet_id = 0
        self.sock.sendall(mqtt_packets.connect(client_id, keepalive=0xFFFF) + mqtt_packets.subscribe(1, *filters))
        while mqtt_packets.SUBACK not in [kind for kind, _, _ in self._packets.feed(self.sock.recv(RECEIVE))]:
            pass

    def publish(self, topic: str, payload: bytes) -> None:
        """Leaves with the next `flush`."""
        self._packet_id = self._packet_id % 65_535 + 1
        self._out += mqtt_packets.publish(mqtt_packets.text(topic), payload, self._packet_id)

    def flush(self) -> None:
        if self._out:
            self.sock.sendall(self._out)
            self._out.clear()

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Topic and payload of each PUBLISH that is there."""
        for kind, flags, body in self._packets.feed(self.sock.recv(RECEIVE)):
            if kind == mqtt_packets.PUBLISH:
                topic, payload, packet_id = mqtt_packets.parse_publish(flags, body)
                if packet_id is not None:
                    self._out += mqtt_packets.puback(packet_id)
                yield topic, payload


@dataclass
class Device:
    """`at`: bytes that came without a gap. `until`: what it asked for."""

    base: str
    at: int = 0
    until: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)


class Fleet:
    """`devices` of them in so many fleets as `connections`, a connection each. `length`: of a block, `window` blocks in
    a read."""

    def __init__(
        self, port: int, devices: int, connections: int, length: int, window: int, repeats: bool = False
    ) -> None:
        self._length, self._window, self._repeats = length, window, repeats
        self._selector = selectors.DefaultSelector()
        self._connections = {number: self._connect(port, number) for number in range(connections)}
        bases = [f"edge/fleet-{number % connections}/dev-{number:06d}" for number in range(devices)]
        self.devices = {base: Device(base) for base in bases}
        self.plan: list[object] = []
        self.finished = 0
        self.received = 0

    def _connect(self, port: int, number: int) -> Connection:
        made = Connection(
            port, f"fleet-{number}", [f"edge/fleet-{number}/+/{channel}" for channel in ("block", "plan")]
        )
        self._selector.register(made.sock, selectors.EVENT_READ, made)
        return made

    def _connection_of(self, base: str) -> Connection:
        return self._connections[int(base.split("/")[1].removeprefix("fleet-"))]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.sock.close()

    def get_plans(self) -> None:
        """Every device has its plan, which is the same for all."""
        waiting = set(self.devices)
        for base in self.devices:
            self._connection_of(base).publish(f"{base}/get", b"")
        for topic, payload in self._heard(lambda: bool(waiting)):
            waiting.discard(topic.removesuffix("/plan"))
            self.plan = msgpack.unpackb(payload)

    def begin(self) -> None:
        """Every device asks for the blocks that come next."""
        for device in self.devices.values():
            self._ask(device)

    def run(self, seconds: float = 120.0) -> float:
        """Until all have all blocks, or so many seconds long; the seconds that it took."""
        began = time.monotonic()
        for topic, payload in self._heard(
            lambda: self.finished < len(self.devices) and time.monotonic() - began < seconds
        ):
            if topic.endswith("/block"):
                self._take(self.devices[topic.removesuffix("/block")], msgpack.unpackb(payload))
        return time.monotonic() - began

    def whole(self, checksum: bytes) -> int:
        """How many devices have the right file."""
        sums = (hashlib.sha1(b"".join(each.blocks.values())).digest() for each in self.devices.values())
        return sum(found == checksum for found in sums)

    def _heard(self, goes_on: Callable[[], bool]) -> Iterator[tuple[str, bytes]]:
        while goes_on():
            for connection in self._connections.values():
                connection.flush()
            for key, _ in self._selector.select(1.0):
                yield from key.data.messages()
                key.data.flush()

    def _ask(self, device: Device) -> None:
        device.until = device.at + self._length * self._window
        digest = self.plan[0] if self.plan else 0
        read = msgpack.packb([digest, 0, device.at, self._length, self._window])
        if self.plan:  # else somebody sends the blocks unasked
            self._connection_of(device.base).publish(f"{device.base}/read", read)

    def _take(self, device: Device, block: list[Any]) -> None:
        _, _, offset, total, data = block
        self.received += 1
        if offset != device.at:
            return
        device.blocks[offset] = data
        device.at += len(data)
        if device.at >= total and self._repeats:
            device.at = 0
            self._ask(device)
        elif device.at >= total:
            self.finished += 1
        elif device.at >= device.until:
            self._ask(device)
