"""Devices that read a model file, a window at a time as the SDK does, over a few raw MQTT 3.1.1 connections.

Made to cost little beside what is measured: no client library, one thread, and what came is checked at the end.
"""

import hashlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgpack

RECEIVE = 1 << 18
WINDOW = 4096
"""Bytes that a device asks for at once, as the SDK does."""


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while size > 0x7F:
        length += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return bytes((kind,)) + length + bytes((size,)) + body


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    return packet(0x32, text(topic) + struct.pack(">H", packet_id) + payload)


class Line:
    """One connection, QoS 1 both ways. `messages` acks what it yields."""

    def __init__(self, port: int, client_id: str, filters: Iterable[str]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in = b""
        self._out = bytearray()
        self._packet_id = 0
        self.sock.sendall(packet(0x10, text("MQTT") + b"\x04\x02\xff\xff" + text(client_id)))
        self.sock.sendall(packet(0x82, b"\0\1" + b"".join(text(each) + b"\1" for each in filters)))
        while b"\x90" not in self._in:
            self._in += self.sock.recv(RECEIVE)
        self._in = b""

    def publish(self, topic: str, payload: bytes) -> None:
        """Leaves with the next `flush`."""
        self._packet_id = self._packet_id % 65_535 + 1
        self._out += publish(topic, payload, self._packet_id)

    def flush(self) -> None:
        if self._out:
            self.sock.sendall(self._out)
            self._out.clear()

    def messages(self) -> Iterable[tuple[str, bytes]]:
        """Topic and payload of each PUBLISH that is there."""
        data, at = self._in + self.sock.recv(RECEIVE), 0
        while (found := _whole(data, at)) is not None:
            start, end = found
            if data[at] & 0xF0 == 0x30:
                size = data[start] << 8 | data[start + 1]
                topic, start = data[start + 2 : start + 2 + size].decode(), start + 2 + size
                if data[at] & 0x06:
                    self._out += b"\x40\x02" + data[start : start + 2]
                    start += 2
                yield topic, data[start:end]
            at = end
        self._in = data[at:]


def _whole(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends."""
    size = shift = 0
    for position in range(at + 1, min(at + 5, len(data))):
        size |= (data[position] & 0x7F) << shift
        if not data[position] & 0x80:
            end = position + 1 + size
            return (position + 1, end) if end <= len(data) else None
        shift += 7
    return None


@dataclass
class Device:
    """`at`: bytes that came without a gap. `until`: what it asked for."""

    base: str
    at: int = 0
    until: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)


class Fleet:
    """`devices` of them in `lines` fleets, a connection each. `length`: of a block, `window` blocks in a read."""

    def __init__(self, port: int, devices: int, lines: int, length: int, window: int, repeats: bool = False) -> None:
        self._length, self._window, self._repeats = length, window, repeats
        self._selector = selectors.DefaultSelector()
        self._lines = {number: self._line(port, number) for number in range(lines)}
        bases = [f"edge/fleet-{number % lines}/dev-{number:06d}" for number in range(devices)]
        self.devices = {base: Device(base) for base in bases}
        self.plan: list[object] = []
        self.finished = 0
        self.received = 0

    def _line(self, port: int, number: int) -> Line:
        made = Line(port, f"fleet-{number}", [f"edge/fleet-{number}/+/{channel}" for channel in ("block", "plan")])
        self._selector.register(made.sock, selectors.EVENT_READ, made)
        return made

    def _line_of(self, base: str) -> Line:
        return self._lines[int(base.split("/")[1].removeprefix("fleet-"))]

    def close(self) -> None:
        for line in self._lines.values():
            line.sock.close()

    def get_plans(self) -> None:
        """Every device has its plan, which is the same for all."""
        waiting = set(self.devices)
        for base in self.devices:
            self._line_of(base).publish(f"{base}/get", b"")
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
            for line in self._lines.values():
                line.flush()
            for key, _ in self._selector.select(1.0):
                yield from key.data.messages()
                key.data.flush()

    def _ask(self, device: Device) -> None:
        device.until = device.at + self._length * self._window
        digest = self.plan[0] if self.plan else 0
        read = msgpack.packb([digest, 0, device.at, self._length, self._window])
        if self.plan:  # else somebody sends the blocks unasked
            self._line_of(device.base).publish(f"{device.base}/read", read)

    def _take(self, device: Device, block: list[object]) -> None:
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
