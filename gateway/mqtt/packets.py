"""The two MQTT 5 packets of which there is one for every message, PUBLISH and PUBACK, both ways. Pure.

paho reads and writes all the others. A packet that is not exactly what is expected is left to paho, which judges it.
"""

from collections.abc import Sequence
from typing import NamedTuple

PUBLISH = 0x30
PUBACK = 0x40
QOS_1 = 0x02
QOS_2 = 0x04
DUP = 0x08
NO_MATCHING_SUBSCRIBERS = 0x10
"""A reason code: the publication was accepted, and nobody was there to take it."""
FAILURE = 0x80
"""Reason codes from here on are refusals."""
LONGEST_LENGTH = 4
"""Bytes of a length, at most (MQTT 5, 1.5.5)."""


class Publish(NamedTuple):
    """A PUBLISH of QoS 0 or 1. `dup`: the broker sent it before.

    Its properties are skipped: the protocol uses none from device to gateway.
    """

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    dup: bool = False


class Puback(NamedTuple):
    """The broker's confirmation of a publication, with its reason code."""

    packet_id: int
    reason: int


def end_of(data: bytes, at: int) -> int | None:
    """Where the packet that begins at `at` ends; None where its length is not there yet. Raises ValueError."""
    length = _number(data, at + 1)
    return None if length is None else length[0] + length[1]


def read(data: bytes, at: int, end: int) -> Publish | Puback | None:
    """What stands in data[at:end], a whole packet; None where it is another packet, or paho's to judge."""
    first = data[at]
    at += 2
    while data[at - 1] & 0x80:
        at += 1
    if first == PUBACK and end - at >= 2:
        return Puback(data[at] << 8 | data[at + 1], data[at + 2] if end - at > 2 else 0)
    if first & 0xF0 != PUBLISH or first & QOS_2:
        return None
    return _publish(data, at, end, first)


def _publish(data: bytes, at: int, end: int, first: int) -> Publish | None:
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
            properties, at = _number(data, at - 1) or (end, end)
    except (IndexError, ValueError):
        return None
    at += properties
    return Publish(topic, data[at:end], qos, packet_id, first & DUP != 0) if topic and at <= end else None


def publish(topic: str, payload: bytes, packet_id: int, retain: bool, properties: bytes) -> bytes:
    """A PUBLISH of QoS 1 (MQTT 5, 3.3). `properties`: as `user_properties` or `message_expiry` make them."""
    name = _text(topic)
    before = name + packet_id.to_bytes(2, "big") + _length(len(properties)) + properties
    return bytes((PUBLISH | QOS_1 | retain,)) + _length(len(before) + len(payload)) + before + payload


def user_properties(pairs: Sequence[tuple[str, str]]) -> bytes:
    """MQTT 5, 3.3.2.3.7."""
    return b"".join([b"\x26" + _text(name) + _text(value) for name, value in pairs])


def message_expiry(seconds: int) -> bytes:
    """After so long the broker drops the message (MQTT 5, 3.3.2.3.3)."""
    return b"\x02" + seconds.to_bytes(4, "big")


def puback(packet_id: int) -> bytes:
    """The PUBACK of a message that was taken over (MQTT 5, 3.4: reason code 0 may be left out)."""
    return bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(number: int) -> bytes:
    """A variable byte integer (MQTT 5, 1.5.5)."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer and where it ends; None where it is cut. Raises ValueError for one that is too long."""
    number = shift = 0
    for position in range(at, min(len(data), at + LONGEST_LENGTH)):
        number |= (data[position] & 0x7F) << shift
        if not data[position] & 0x80:
            return number, position + 1
        shift += 7
    if len(data) >= at + LONGEST_LENGTH:
        raise ValueError("a length of more than four bytes")
    return None
