"""An MQTT 3.1.1 client for boards: QoS 0 and 1, retained messages, a will, keepalive, TLS, a deadline on every call.

One packet is one write. One QoS 1 publish is under way at a time; it stays in its buffer until the broker confirms it,
and is sent again, after a reconnect, with DUP under the same packet id. Publishing and its PUBACK allocate nothing.
Knows nothing of the agent.
"""

import errno
import socket
import struct

from ._compat import ticks_diff, ticks_ms
from .link import Link


class RefusedError(OSError):
    """The broker said no: `args[0]` is CONNACK's return code (1 to 5) or SUBACK's 128."""


def _field(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">H", len(data)) + data


def room(topic):
    """Bytes that `publish` needs free before the payload, for a topic in bytes."""
    return 9 + len(topic)


class Mqtt:
    """will: (topic, payload, qos, retain). tls: an SSLContext. keepalive: seconds. timeout: milliseconds of any call.

    size: bytes of the largest packet that is taken in (topic and payload); a larger one is read over, confirmed, and
    counted in `oversized`. Every failure of the connection is an OSError, after which only connect() makes sense.
    """

    def __init__(
        self, host, port=1883, client_id="", user=None, password=None, keepalive=60, clean=True, will=None, tls=None,
        timeout=10000, size=1200, on_message=None,
    ):  # fmt: skip
        self.host = host
        self.port = port
        self.client_id = client_id
        self.user = user
        self.password = password
        self.keepalive = keepalive
        self.clean = clean
        self.will = will
        self.tls = tls
        self.timeout = timeout
        self.on_message = on_message  # (topic bytes, buf, start, end); the buffer is used again when it returns
        self.oversized = 0
        self.connected = False
        self.unconfirmed = None  # the Packer of a QoS 1 publish under way
        self._rx = bytearray(size)
        self._small = bytearray(4)
        self._link = Link()
        self._id = self._acked = 0
        self._at = 0
        self._pinged = False

    def connect(self):
        """Opens the connection. Returns whether the broker kept a session. RefusedError where the broker says no."""
        self.close()
        self._begin()
        addresses = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        while True:
            try:
                return self._connect(addresses.pop(0))
            except OSError:
                self.close()
                if not addresses:
                    raise

    def _connect(self, address):
        self._link.open(address, self.tls, self.host)
        self._send_connect()
        while self._packet() != 2:
            self._link.left()
        if self._rx[1]:
            raise RefusedError(self._rx[1])
        self._link.handshake = False
        self._pinged = False
        self.connected = True
        return bool(self._rx[0] & 1)

    def _send_connect(self):
        flags = 2 if self.clean else 0
        rest = _field(self.client_id)
        if self.will:
            topic, payload, qos, retain = self.will
            flags |= 4 | qos << 3 | retain << 5
            rest += _field(topic) + _field(payload)
        if self.user is not None:
            flags |= 128
            rest += _field(self.user)
        if self.password is not None:
            flags |= 64
            rest += _field(self.password)
        self._request(0x10, struct.pack(">H4sBBH", 4, b"MQTT", 4, flags, self.keepalive) + rest)

    def _request(self, kind, body):
        n = len(body)
        head = bytes((kind, n)) if n < 128 else bytes((kind, n & 127 | 128, n >> 7))
        self._link.write(head + body, 0, len(head) + n)

    def close(self):
        """Drops the connection without a word, so that the broker publishes the will."""
        self.connected = False
        self._link.close()

    def disconnect(self):
        """Takes leave: the broker forgets the will."""
        try:
            self._begin()
            self._link.write(b"\xe0\x00", 0, 2)
        finally:
            self.close()

    def subscribe(self, topic, qos=1):
        """Returns when the broker granted it; RefusedError(128) where it did not."""
        self._begin()
        n = self._next_id()
        self._request(0x82, struct.pack(">H", n) + _field(topic) + bytes((qos,)))
        self._await(9, n)
        if self._rx[2] == 128:
            raise RefusedError(128)

    def publish(self, topic, p, qos=1, retain=False):
        """Publishes what the Packer p holds; p.start is at least room(topic). QoS 1: returns once it is confirmed."""
        if self.unconfirmed:
            raise ValueError("a publish is under way: resend() first")
        buf = p.buf
        at = p.start - (2 if qos else 0)
        if qos:
            n = self._next_id()
            buf[at] = n >> 8
            buf[at + 1] = n & 255
        at -= len(topic)
        for i in range(len(topic)):
            buf[at + i] = topic[i]
        at -= 2
        buf[at] = len(topic) >> 8
        buf[at + 1] = len(topic) & 255
        at = self._length(buf, at, p.pos - at) - 1
        buf[at] = 0x30 | qos << 1 | retain
        self._at = at
        self._begin()
        if not qos:
            return self._link.write(buf, at, p.pos - at)
        self.unconfirmed = p
        self._confirm(n)

    def resend(self):
        """After a reconnect: the publish that was under way, if there is one, with DUP and under its packet id."""
        p = self.unconfirmed
        if p:
            p.buf[self._at] |= 8
            self._begin()
            self._confirm(p.buf[p.start - 2] << 8 | p.buf[p.start - 1])

    def _confirm(self, n):
        p = self.unconfirmed
        self._link.write(p.buf, self._at, p.pos - self._at)
        self._await(4, n)
        self.unconfirmed = None

    def poll(self, ms=0):
        """Waits up to ms for a packet and deals with it; keeps the connection alive. Returns whether there was one."""
        self._begin()
        self._keep_alive()
        if not self._link.first(self._small, ms):
            return False
        self._begin()
        self._rest()
        return True

    def _keep_alive(self):
        quiet = ticks_diff(ticks_ms(), self._link.wrote)
        if self._pinged:
            if quiet > self.timeout:
                raise OSError(errno.ETIMEDOUT, "deadline")
        elif self.keepalive and quiet > self.keepalive * 750:
            self._pinged = True
            self._link.write(b"\xc0\x00", 0, 2)

    def _begin(self):
        self._link.begin(self.timeout)

    def _next_id(self):
        self._id = self._id % 65535 + 1
        return self._id

    def _packet(self):
        self._link.read(self._small, 1)
        return self._rest()

    def _length(self, buf, at, n):
        # The remaining length, written to end before `at`; where it begins.
        size = 1 if n < 128 else 2 if n < 16384 else 3
        for i in range(at - size, at):
            buf[i] = n & 127 | (128 if n > 127 else 0)
            n >>= 7
        return at - size

    def _rest(self):
        # The packet after its first byte. Returns its type; the ids of PUBACK and SUBACK are left in _acked.
        small = self._small
        head = small[0]
        n = shift = 0
        while True:
            self._link.read(small, 1)
            n |= (small[0] & 127) << shift
            shift += 7
            if small[0] < 128:
                break
            if shift > 21:
                self._link.lost()
        size = min(n, len(self._rx))
        self._link.read(self._rx, size)
        kind = head >> 4
        if kind == 3:
            self._incoming(head, size, n - size)
        elif size > 1:
            self._acked = self._rx[0] << 8 | self._rx[1]
        elif kind == 13:
            self._pinged = False
        return kind

    def _incoming(self, head, n, over):
        rx = self._rx
        start = 2 + (rx[0] << 8 | rx[1])
        qos = head >> 1 & 3
        if n < start + 2 * qos:
            self._link.lost()
        if qos:
            high = rx[start]
            low = rx[start + 1]
        if over:
            self.oversized += 1
            while over:
                size = min(over, len(rx))
                self._link.read(rx, size)
                over -= size
        elif self.on_message:
            self.on_message(bytes(memoryview(rx)[2:start]), rx, start + 2 * qos, n)
        if qos:
            small = self._small
            small[0] = 0x40
            small[1] = 2
            small[2] = high
            small[3] = low
            self._link.write(small, 0, 4)

    def _await(self, kind, n):
        while self._packet() != kind or self._acked != n:
            self._link.left()  # a flood of other packets is no answer
