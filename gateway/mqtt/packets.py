"""PUBLISH and PUBACK of MQTT 5: bytes to values and values to bytes. Pure.

paho reads and writes all other packets. A packet that is not exactly as expected is left to paho, which checks it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PUBLISH = 0x30
PUBACK = 0x40
QOS_1 = 0x02
QOS_2 = 0x04
DUP = 0x08
RETAIN = 0x01
NO_MATCHING_SUBSCRIBERS = 0x10
"""Reason code: accepted, and no client subscribes to it."""
FAILURE = 0x80
"""Reason codes from here on are refusals."""
PUBACK_BYTES = 4
"""Of a PUBACK with reason code 0."""
MAX_VARINT_BYTES = 4
"""MQTT 5, 1.5.5."""


class Publish(NamedTuple):
    """A PUBLISH of QoS 0 or 1. `dup`: the broker sent it before. `retain`: it was there before the subscription.
    Properties are skipped: devices send none."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    dup: bool = False
    retain: bool = False


class Puback(NamedTuple):
    """The broker's acknowledgement of a publication, with its reason code."""

    packet_id: int
    reason: int


@dataclass(slots=True)
class RejectedTopic:
    """Messages of one topic that are acknowledged and counted, and not delivered: those that come before `until`
    (monotonic seconds) and have `size` bytes at least behind topic and packet id."""

    until: float
    size: int = 0
    count: int = 0


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
    if not topic or at > end:
        return None
    return Publish(topic, data[at:end], qos, packet_id, first & DUP != 0, first & RETAIN != 0)


def topic_key(topic: str) -> bytes:
    """A topic as a PUBLISH has it, with its length in front."""
    return _write_text(topic)


def skip_rejected(data: bytes, at: int, topics: Mapping[bytes, RejectedTopic], now: float, pubacks: bytearray) -> int:
    """Count the PUBLISHes from `at` on that `topics` reject at `now`, up to the first other packet: where that begins.

    `pubacks` gets the PUBACK of each that came at QoS 1. A PUBLISH with DUP is never rejected here. This is all that is
    done for one message of a flood, so it makes no value of it.
    """
    size = len(data)
    while at + 4 < size and data[at] & 0xFC == PUBLISH:
        begin = at + 2
        end = begin + data[at + 1]
        if data[at + 1] > 0x7F:
            try:
                begin, end = _long_body(data, at)
            except ValueError:
                break
        if end > size:
            break
        topic_end = begin + 2 + (data[begin] << 8 | data[begin + 1])
        topic = topics.get(data[begin:topic_end])
        if topic is None or now >= topic.until:
            break
        qos_1 = data[at] & QOS_1
        if end - topic_end - (3 if qos_1 else 1) < topic.size:
            break
        topic.count += 1
        if qos_1:
            pubacks += _PUBACK_HEAD
            pubacks += data[topic_end : topic_end + 2]
        at = end
    return at


def _long_body(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of the packet at `at` begins and ends. Raises ValueError where its length is not complete."""
    length = _read_varint(data, at + 1)
    if length is None:
        raise ValueError("a length that is not complete")
    return length[1], length[1] + length[0]


def publish(topic: str, payload: bytes, packet_id: int, retain: bool, properties: bytes, qos: int = 1) -> bytes:
    """A PUBLISH of QoS 1, or 0 without the packet id (MQTT 5, 3.3). `properties`: from `user_properties` or
    `message_expiry`, or empty."""
    name = topic.encode()
    length = _write_varint(len(properties)) + properties if properties else b"\0"
    head = len(name).to_bytes(2, "big") + name + (packet_id.to_bytes(2, "big") if qos else b"") + length
    size = len(head) + len(payload)
    first = PUBLISH | qos << 1 | retain
    if size < 0x80:  # an ack: its length is one byte
        return bytes((first, size)) + head + payload
    return bytes((first,)) + _write_varint(size) + head + payload


def user_properties(pairs: Sequence[tuple[str, str]]) -> bytes:
    """MQTT 5, 3.3.2.3.7."""
    return b"".join([b"\x26" + _write_text(name) + _write_text(value) for name, value in pairs])


def message_expiry(seconds: int) -> bytes:
    """The broker drops the message after so many seconds (MQTT 5, 3.3.2.3.3)."""
    return b"\x02" + seconds.to_bytes(4, "big")


def puback(packet_id: int) -> bytes:
    """A PUBACK with reason code 0 (MQTT 5, 3.4)."""
    return bytes((PUBACK, 2, packet_id >> 8, packet_id & 0xFF))


_PUBACK_HEAD = bytes((PUBACK, 2))


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
