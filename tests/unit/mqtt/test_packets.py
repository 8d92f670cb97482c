"""PUBLISH and PUBACK byte by byte (MQTT 5, 3.3 and 3.4), and how a stream is divided between gateway and paho."""

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt import packets
from gateway.mqtt.buffered_socket import BufferedSocket
from gateway.mqtt.packets import Puback, Publish

PINGRESP = b"\xd0\x00"


def varint(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits[-1] |= 0x80
        digits.append(number & 0x7F)
    return bytes(digits)


def encoded(message: Publish, properties: bytes = b"", flags: int = 0) -> bytes:
    """A PUBLISH as the standard says."""
    topic = message.topic.encode()
    packet_id = message.packet_id.to_bytes(2, "big") if message.qos else b""
    rest = len(topic).to_bytes(2, "big") + topic + packet_id + varint(len(properties)) + properties + message.payload
    return bytes([0x30 | message.dup << 3 | message.qos << 1 | flags]) + varint(len(rest)) + rest


TOPICS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)
BINARY = st.binary(max_size=300)
MESSAGES = st.builds(Publish, TOPICS, BINARY, st.just(1), st.integers(1, 65_535), st.booleans()) | st.builds(
    Publish, TOPICS, BINARY, st.just(0), st.just(0), st.just(False)
)


@given(message=MESSAGES, properties=st.binary(max_size=200), flags=st.sampled_from([0, 1]), before=st.binary())
def test_a_publish_is_parsed_at_any_position(message: Publish, properties: bytes, flags: int, before: bytes) -> None:
    packet = encoded(message, properties, flags)
    data = before + packet + b"\x30"
    end = packets.packet_end(data, len(before))
    assert end == len(before) + len(packet)
    assert packets.parse(data, len(before), end) == message


@pytest.mark.parametrize(
    "packet",
    [
        PINGRESP,
        b"\x40\x01\x00",
        encoded(Publish("t", b"", 1, 1), flags=0x04),
        b"\x32\x00",
        b"\x32\x04\x00\x09ab",
        b"\x32\x05\x00\x01t\x00\x01",
        b"\x30\x04\x00\x01t\x05",
        b"\x30\x04\x00\x01\xff\x00",
        b"\x30\x03\x00\x00\x00",
        b"\x30\x05\x00\x01t\xff\xff",
    ],
    ids="ping cut-puback qos2-or-3 empty cut-topic no-properties cut-properties not-utf8 no-topic cut-number".split(),
)
def test_other_packets_are_left_to_paho(packet: bytes) -> None:
    assert packets.parse(packet, 0, len(packet)) is None


@pytest.mark.parametrize(("data", "end"), [(b"\x30", None), (b"\x30\x80", None), (b"\x30\x80\x01", 131)])
def test_a_length_may_be_incomplete(data: bytes, end: int | None) -> None:
    assert packets.packet_end(data, 0) == end


def test_a_length_has_four_bytes_at_most() -> None:
    with pytest.raises(ValueError, match="four bytes"):
        packets.packet_end(b"\x30\xff\xff\xff\xff\x01", 0)


@given(
    message=MESSAGES.filter(lambda message: message.qos == 1), retain=st.booleans(), properties=st.binary(max_size=200)
)
def test_a_publish_is_written_by_the_standard(message: Publish, retain: bool, properties: bytes) -> None:
    written = packets.publish(message.topic, message.payload, message.packet_id, retain, properties)
    assert written == encoded(message._replace(dup=False), properties, flags=int(retain))


def test_properties_are_written_by_the_standard() -> None:
    assert packets.user_properties([("a", "größe"), ("b", "")]) == "\x26\0\1a\0\7größe\x26\0\1b\0\0".encode()
    assert packets.message_expiry(258) == b"\x02\0\0\1\2"


def test_a_puback_names_its_packet_id() -> None:
    assert packets.puback(0x1234) == b"\x40\x02\x12\x34"


@pytest.mark.parametrize("rest", [b"", b"\x10", b"\x10\x00", b"\x10\x05\x1f\x00\x02no"])
def test_a_puback_is_read_with_its_reason(rest: bytes) -> None:
    packet = bytes((0x40, 2 + len(rest))) + b"\x12\x34" + rest
    assert packets.parse(packet, 0, len(packet)) == Puback(0x1234, rest[0] if rest else 0)


# The stream


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, BufferedSocket]]:
    """The broker's end, and ours."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    with theirs, ours:
        yield theirs, BufferedSocket(ours)


def drain(sock: BufferedSocket) -> list[Publish | bytes]:
    """All packets that have arrived: messages, and the bytes that paho receives."""
    sock.receive()
    received: list[Publish | bytes] = []
    while packet := sock.next_packet():
        received.append(packet if isinstance(packet, Publish) else sock.recv(1000))
    return received


@given(parts=st.lists(MESSAGES | st.just(PINGRESP), max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_each_packet_goes_to_its_receiver_in_order(parts: list[Publish | bytes], cuts: list[int]) -> None:
    stream = b"".join(part if isinstance(part, bytes) else encoded(part) for part in parts)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    received: list[Publish | bytes] = []
    with theirs, ours:
        sock = BufferedSocket(ours)
        for start, end in pairwise(edges):
            theirs.sendall(stream[start:end])
            received += drain(sock)
    assert received == parts


def test_paho_receives_its_packet_in_pieces_and_nothing_beyond_it(
    ends: tuple[socket.socket, BufferedSocket],
) -> None:
    theirs, sock = ends
    theirs.sendall(PINGRESP + encoded(Publish("t", b"x", 0, 0)))
    sock.receive()
    assert sock.next_packet() is True
    assert (sock.recv(1), sock.recv(10)) == (b"\xd0", b"\x00")
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    assert sock.next_packet() == Publish("t", b"x", 0, 0)


def test_paho_receives_the_end_after_all_bytes(ends: tuple[socket.socket, BufferedSocket]) -> None:
    theirs, sock = ends
    theirs.sendall(encoded(Publish("t", b"x", 0, 0)) + PINGRESP[:1])
    theirs.close()
    assert drain(sock) == [Publish("t", b"x", 0, 0)]
    sock.receive()
    assert sock.next_packet() is True
    assert sock.recv(10) == b""


def test_paho_checks_what_cannot_be_a_packet(ends: tuple[socket.socket, BufferedSocket]) -> None:
    theirs, sock = ends
    theirs.sendall(b"\x30\xff\xff\xff\xff\x01")
    assert drain(sock) == [b"\x30\xff\xff\xff\xff\x01"]
