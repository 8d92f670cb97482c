"""PUBLISH and PUBACK byte by byte (MQTT 5, 3.3 and 3.4), and how a stream is divided between gateway and paho."""

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt import packets
from gateway.mqtt.buffered_socket import BufferedSocket
from gateway.mqtt.packets import Puback, Publish, RejectedTopic

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
    return bytes([0x30 | message.dup << 3 | message.qos << 1 | message.retain | flags]) + varint(len(rest)) + rest


TOPICS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)
BINARY = st.binary(max_size=300)
MESSAGES = st.builds(
    Publish, TOPICS, BINARY, st.just(1), st.integers(1, 65_535), st.booleans(), st.booleans()
) | st.builds(Publish, TOPICS, BINARY, st.just(0), st.just(0), st.just(False), st.booleans())


@given(message=MESSAGES, properties=st.binary(max_size=200), before=st.binary())
def test_a_publish_is_parsed_at_any_position(message: Publish, properties: bytes, before: bytes) -> None:
    packet = encoded(message, properties)
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
    assert written == encoded(message._replace(dup=False, retain=retain), properties)


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


LOUD = "edge/f/loud/hb"
NAMES = st.sampled_from([LOUD, "edge/f/loud/get", "edge/f/other/hb"])
SOME = st.builds(
    Publish, NAMES, st.binary(max_size=200), st.just(1), st.integers(1, 65_535), st.booleans()
) | st.builds(Publish, NAMES, st.binary(max_size=200), st.just(0), st.just(0), st.just(False))


def is_rejected(message: Publish | None, size: int) -> bool:
    return message is not None and message.topic == LOUD and len(message.payload) >= size and not message.dup


@given(
    stream=st.lists(SOME | st.sampled_from([PINGRESP, b"\x40\x02\x00\x07"]), max_size=30),
    size=st.sampled_from([0, 20]),
    cut=st.integers(0, 60),
)
def test_rejected_messages_are_counted_up_to_the_first_other_packet(
    stream: list[Publish | bytes], size: int, cut: int
) -> None:
    """Wherever the bytes that have come end."""
    data = b"".join(each if isinstance(each, bytes) else encoded(each) for each in stream)
    data = data[: len(data) - cut]
    rejected: list[Publish] = []
    at = 0
    for each in stream:
        end = at + len(each if isinstance(each, bytes) else encoded(each))
        if isinstance(each, bytes) or not is_rejected(each, size) or end > len(data):
            break
        rejected.append(each)
        at = end
    topic, pubacks = RejectedTopic(until=5.0, size=size), bytearray()
    assert packets.skip_rejected(data, 0, {packets.topic_key(LOUD): topic}, 4.9, pubacks) == at
    assert topic.count == len(rejected)
    assert pubacks == b"".join(packets.puback(each.packet_id) for each in rejected if each.qos)


@given(data=st.binary(max_size=60), before=st.integers(0, 3))
def test_whatever_comes_is_left_where_it_is_no_message_of_the_topic(data: bytes, before: int) -> None:
    message = encoded(Publish(LOUD, b"x", 1, 7))
    at = packets.skip_rejected(
        message * before + data, 0, {packets.topic_key(LOUD): RejectedTopic(5.0)}, 0.0, bytearray()
    )
    assert at >= before * len(message)


@pytest.mark.parametrize("now", [5.0, 6.0])
def test_from_its_moment_on_the_topic_is_read_again(now: float) -> None:
    topics = {packets.topic_key(LOUD): RejectedTopic(until=5.0)}
    assert packets.skip_rejected(encoded(Publish(LOUD, b"x", 0, 0)), 0, topics, now, bytearray()) == 0


def test_a_retained_message_is_rejected_too_and_a_truncated_one_left_to_paho() -> None:
    topics, pubacks = {packets.topic_key(LOUD): RejectedTopic(until=5.0)}, bytearray()
    whole = encoded(Publish(LOUD, b"", 1, 0x0102), flags=1)
    assert packets.skip_rejected(whole, 0, topics, 0.0, pubacks) == len(whole)
    assert pubacks == b"\x40\x02\x01\x02"
    without_properties = whole[:1] + bytes([whole[1] - 1]) + whole[2:-1]
    assert packets.skip_rejected(without_properties, 0, topics, 0.0, pubacks) == 0
    assert packets.skip_rejected(b"\x30\x80\x80\x80\x80\x01", 0, topics, 0.0, pubacks) == 0


def test_a_socket_skips_rejected_messages_and_goes_on_behind_them() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock, topics, pubacks = BufferedSocket(ours), {packets.topic_key(LOUD): RejectedTopic(until=5.0)}, bytearray()
        other = Publish("edge/f/other/hb", b"y", 1, 9)
        theirs.sendall(encoded(Publish(LOUD, b"x", 1, 8)) * 100 + encoded(other))
        sock.receive()
        assert sock.skip_rejected(topics, 0.0, pubacks)
        assert not sock.skip_rejected(topics, 0.0, pubacks)
        assert sock.next_packet() == other
        assert (topics[packets.topic_key(LOUD)].count, len(pubacks)) == (100, 400)
