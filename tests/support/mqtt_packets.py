"""As much of MQTT 3.1.1 as a simulated device speaks: packets to bytes, and bytes to packets. No I/O.

It must never check what a broker sends: that is other tests' work.
"""

from collections.abc import Iterator

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
DISCONNECT = b"\xe0\0"


def connect(client_id: str, user: str, password: str) -> bytes:
    """A clean session, with a keepalive of an hour: no scenario is silent for so long, so nobody needs to ping."""
    body = b"\0\4MQTT\4\xc2\x0e\x10" + _text(client_id) + _text(user) + _text(password)
    return b"\x10" + _length(len(body)) + body


def subscribe(packet_id: int, topic: str) -> bytes:
    """At QoS 1."""
    body = packet_id.to_bytes(2, "big") + _text(topic) + b"\1"
    return b"\x82" + _length(len(body)) + body


def publish(topic: bytes, payload: bytes, packet_id: int, retain: bool = False, again: bool = False) -> bytes:
    """At QoS 1; `topic` with its length in front (see `topic`)."""
    body = topic + packet_id.to_bytes(2, "big") + payload
    return bytes((0x32 | retain | again << 3,)) + _length(len(body)) + body


def puback(packet_id: int) -> bytes:
    return b"\x40\2" + packet_id.to_bytes(2, "big")


def topic(name: str) -> bytes:
    """As PUBLISH has it."""
    return _text(name)


def published(flags: int, body: bytes) -> tuple[bytes, int | None]:
    """Payload and packet id of a PUBLISH; None at QoS 0."""
    start = 2 + int.from_bytes(body[:2], "big")
    if not flags & 0x06:
        return body[start:], None
    return body[start + 2 :], int.from_bytes(body[start : start + 2], "big")


class Reader:
    """Bytes in whatever pieces -> packets."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, body) of each packet that is whole."""
        data, start = self._data + data, 0
        while (whole := _whole(data, start)) is not None:
            body, end = whole
            yield data[start] & 0xF0, data[start] & 0x0F, data[body:end]
            start = end
        self._data = data[start:]


def _whole(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends; None while it is not whole."""
    length = 0
    for place, byte in enumerate(data[start + 1 : start + 5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            first = start + 2 + place
            return (first, first + length) if first + length <= len(data) else None
    return None


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
