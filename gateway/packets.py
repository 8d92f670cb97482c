"""The two MQTT 5 packets of which there is one for every message: PUBLISH is read here, PUBACK written. Pure.

paho reads and writes all the others. A packet that is not exactly what is expected is left to paho, which judges it.
"""

from typing import NamedTuple

PUBLISH = 0x30
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


def end_of(data: bytes, at: int) -> int | None:
    """Where the packet that begins at `at` ends; None where its length is not there yet. Raises ValueError."""
    length = _number(data, at + 1)
    return None if length is None else length[0] + length[1]


def publish(data: bytes, at: int, end: int) -> Publish | None:
    """The PUBLISH in data[at:end], a whole packet; None where it is another packet, or paho's to judge."""
    first = data[at]
    if first & 0xF0 != PUBLISH or first & QOS_2:
        return None
    at += 2
    while data[at - 1] & 0x80:
        at += 1
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


def puback(packet_id: int) -> bytes:
    """The PUBACK of a message that was taken over (MQTT 5, 3.4: reason code 0 may be left out)."""
    return bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF))


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
