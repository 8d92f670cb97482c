"""PUBLISH and PUBACK of MQTT 5: bytes to values and values to bytes. Pure.

paho reads and writes all other packets. A packet that is not exactly as expected is left to paho, which checks it.
"""

from collections.abc import Sequence
from typing import NamedTuple

PUBLISH = 0x30
PUBACK = 0x40
QOS_2 = 0x04
DUP = 0x08
NO_MATCHING_SUBSCRIBERS = 0x10
"""Reason code: accepted, and no client subscribes to it."""
FAILURE = 0x80
"""Reason codes from here on are refusals."""
MAX_VARINT_BYTES = 4
"""MQTT 5, 1.5.5."""


class Publish(NamedTuple):
    """A PUBLISH of QoS 0 or 1. `dup`: the broker sent it before. Properties are skipped: devices send none."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    dup: bool = False


class Puback(NamedTuple):
    """The broker's acknowledgement of a publication, with its reason code."""

    packet_id: int
    reason: int


def packet_end(data: bytes, at: int) -> int | None:
    """Where the packet that begins at `at` ends; None where its length is not complete. Raises ValueError."""
    if at + 1 < len(data) and data[at + 1] < 0x80:
        return at + 2 + data[at + 1]
    length = _read_varint(data, at + 1)
    return None if length is None else length[0] + length[1]


def parse(data: bytes, at: int, end: int) -> Publish | Puback | None:
    """The whole packet data[at:end]; None where it is another packet, or one that paho must check."""
    first = data[at]
    at += 2
    while data[at - 1] & 0x80:
        at += 1
    if first == PUBACK and end - at >= 2:
        return Puback(data[at] << 8 | data[at + 1], data[at + 2] if end - at > 2 else 0)
    if first & 0xF0 != PUBLISH or first & QOS_2:
        return None
    try:
        size = data[at] << 8 | data[at + 1]
        topic = data[at + 2 : at + 2 + size].decode()
        at += 2 + size
        qos, packet_id = first >> 1 & 1, 0
        if qos:
            packet_id = data[at] << 8 | data[at + 1]
            at += 2
        properties = data[at]
        at += 1
        if properties & 0x80:
            properties, at = _read_varint(data, at - 1) or (end, end)
    except (IndexError, ValueError):
        return None
    at += properties
    return Publish(topic, data[at:end], qos, packet_id, first & DUP != 0) if topic and at <= end else None


def publish(topic: str, payload: bytes, packet_id: int, retain: bool, properties: bytes, qos: int = 1) -> bytes:
    """A PUBLISH of QoS 1, or 0 without the packet id (MQTT 5, 3.3). `properties`: from `user_properties` or
    `message_expiry`, or empty."""
    name = topic.encode()
    length = _write_varint(len(properties)) + properties if properties else b"\0"
    head = len(name).to_bytes(2, "big") + name + (packet_id.to_bytes(2, "big") if qos else b"") + length
    return bytes((PUBLISH | qos << 1 | retain,)) + _write_varint(len(head) + len(payload)) + head + payload


def user_properties(pairs: Sequence[tuple[str, str]]) -> bytes:
    """MQTT 5, 3.3.2.3.7."""
    return b"".join([b"\x26" + _write_text(name) + _write_text(value) for name, value in pairs])


def message_expiry(seconds: int) -> bytes:
    """The broker drops the message after so many seconds (MQTT 5, 3.3.2.3.3)."""
    return b"\x02" + seconds.to_bytes(4, "big")


def puback(packet_id: int) -> bytes:
    """A PUBACK with reason code 0 (MQTT 5, 3.4)."""
    return bytes((PUBACK, 2, packet_id >> 8, packet_id & 0xFF))


def _write_text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _write_varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """The number and where it ends; None where it is not complete. Raises ValueError where it is too long."""
    number = shift = 0
    for position in range(at, min(len(data), at + MAX_VARINT_BYTES)):
        number |= (data[position] & 0x7F) << shift
        if not data[position] & 0x80:
            return number, position + 1
        shift += 7
    if len(data) >= at + MAX_VARINT_BYTES:
        raise ValueError("a length of more than four bytes")
    return None
