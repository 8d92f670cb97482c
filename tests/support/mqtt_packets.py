"""MQTT as raw bytes, as much as simulated devices need: packets to bytes, and bytes to packets. Pure.

It must never check what a broker sends: that is other tests' work.
"""

from collections.abc import Iterator

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
DISCONNECT = b"\xe0\0"
MQTT_5 = 5


def packet(first: int, body: bytes) -> bytes:
    """`first`: the type and the flags."""
    digits, size = bytearray(), len(body)
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((first, *digits, size)) + body


def text(value: str) -> bytes:
    """With its length in front."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def connect(
    client_id: str,
    user: str | None = None,
    password: str | None = None,
    keepalive: int = 3600,
    level: int = 4,
    will: tuple[bytes, bytes] | None = None,
) -> bytes:
    """A clean session. `user` and `password`: both, or neither. `level`: 4 is MQTT 3.1.1, 5 is MQTT 5.

    `will`, for 3.1.1: the topic as `text` makes it, and the payload; it is retained, at QoS 1."""
    flags, fields = 0x02, [text(client_id)]
    if will is not None:
        flags |= 0x2C
        fields += [will[0], len(will[1]).to_bytes(2, "big") + will[1]]
    if user is not None and password is not None:
        flags |= 0xC0
        fields += [text(user), text(password)]
    properties = b"\0" if level == MQTT_5 else b""
    head = text("MQTT") + bytes((level, flags)) + keepalive.to_bytes(2, "big") + properties
    return packet(0x10, head + b"".join(fields))


def subscribe(packet_id: int, *filters: str) -> bytes:
    """MQTT 3.1.1, at QoS 1."""
    return packet(0x82, packet_id.to_bytes(2, "big") + b"".join(text(each) + b"\1" for each in filters))


def publish(topic: bytes, payload: bytes, packet_id: int, retain: bool = False, dup: bool = False) -> bytes:
    """MQTT 3.1.1, at QoS 1; `topic` as `text` makes it."""
    return packet(0x32 | retain | dup << 3, topic + packet_id.to_bytes(2, "big") + payload)


def puback(packet_id: int) -> bytes:
    return packet(PUBACK, packet_id.to_bytes(2, "big"))


def parse_publish(flags: int, body: bytes) -> tuple[str, bytes, int | None]:
    """Topic, payload and packet id of a PUBLISH of MQTT 3.1.1; None at QoS 0."""
    end = 2 + int.from_bytes(body[:2], "big")
    topic = body[2:end].decode()
    if not flags & 0x06:
        return topic, body[end:], None
    return topic, body[end + 2 :], int.from_bytes(body[end : end + 2], "big")


class PacketReader:
    """Bytes in whatever pieces -> packets."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, body) of each packet that is whole."""
        self._data += piece
        data, start = self._data, 0
        while (whole := _whole(data, start)) is not None:
            body, end = whole
            yield data[start] & 0xF0, data[start] & 0x0F, bytes(data[body:end])
            start = end
        del data[:start]


def _whole(data: bytearray, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends; None while it is not whole."""
    length = 0
    for place, byte in enumerate(data[start + 1 : start + 5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            first = start + 2 + place
            return (first, first + length) if first + length <= len(data) else None
    return None
