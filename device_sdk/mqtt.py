"""An MQTT 3.1.1 client for boards: QoS 0 and 1, retained messages, a will, keepalive, TLS, a deadline on every call.

One packet is one write. One QoS 1 publish is in flight at a time; it stays in its buffer until the broker confirms it.
After a reconnect it is repeated with DUP and the same packet id. Publish and PUBACK allocate nothing. The socket does
not block: each call waits in a poller until its deadline. It must not import the agent.
"""

import select
import socket
import time

try:
    time.ticks_ms
except AttributeError:
    from .host import select, socket, time  # the same names on CPython: only here the runtimes differ


def field(text):
    """A string of MQTT: two bytes of length, then the bytes."""
    text = text if type(text) is bytes else text.encode()
    return len(text).to_bytes(2, "big") + text


def _packet(type, value):
    n = len(value)
    head = bytes((type,))
    while n >> 7:
        head += bytes((n & 127 | 128,))
        n >>= 7
    return head + bytes((n,)) + value


class Mqtt:
    """flags of CONNECT: 2 = clean session; 4 = will, 8 = with QoS 1, 32 = retained; 64 = password, 128 = user.

    fields: client id, will's topic and payload, user, password, as the flags say. keepalive: seconds, 0: none.
    tls(sock, host): returns the wrapped socket (on CPython `host.tls(context)`); None: no TLS.
    size: bytes of the largest packet that is accepted (topic and payload); a larger one is skipped and confirmed.
    on_message(topic, payload): bytes and a memoryview, which is valid only during the call. `timeout`: a call ends
    after so many milliseconds without a byte, and after eight times as many in any case. `open`: whether there is a
    connection. `unconfirmed`: the Packer of a QoS 1 publish in flight. `feed`: called at least each second while a call
    waits. Every failure is an OSError. After one, only
    connect() may be called. OSError("refused", code): the broker refuses.
    """

    timeout = 10000
    open = False
    unconfirmed = None
    feed = int  # does nothing
    id = 0  # of the last publish, 1 to 65534; a subscription has 65535

    def __init__(self, host, port, flags, fields, keepalive, tls, size, on_message):
        self.broker = host, port, tls
        self.keepalive = keepalive
        self.on_message = on_message
        self.buf = bytearray(size)
        body = field("MQTT") + bytes((4, flags, keepalive >> 8, keepalive & 255))
        for value in fields:
            body += field(value)
        self.hello = _packet(16, body)

    def connect(self):
        """Open the connection. Returns whether the broker has a session."""
        self.close()
        host, port, tls = self.broker
        # A name may have IPv6 and IPv4 addresses, of which only some may work.
        for address in socket.getaddrinfo(host, port):
            try:
                self.io = io = socket.socket(address[0])
                self.open = True
                io.settimeout(self.timeout / 1000)
                io.connect(address[-1])
                break
            except OSError as error:
                failed = error
                self.close()
        else:
            raise failed
        if tls:
            self.io = io = tls(io, host)
        io.setblocking(False)
        self.select = select.poll()
        self.wait(4, 0)  # the poller allocates only at its first event
        kept = self.call(self.hello, 2)
        if kept & 255:
            raise OSError("refused", kept)
        return kept > 0

    def close(self):
        """Close the connection without DISCONNECT: the broker publishes the will."""
        if self.open:
            self.open = False
            self.io.close()

    def disconnect(self):
        """Send DISCONNECT and close: the broker deletes the will."""
        self.write(bytes((0xE0, 0)), 0, 2)
        self.close()

    def subscribe(self, topic, qos):
        """Returns when the broker has granted it."""
        self.call(_packet(0x82, bytes((255, 255)) + field(topic) + bytes((qos,))), 9)
        if self.buf[2] > 127:
            raise OSError("refused", 128)

    def publish(self, topic, p, qos, retain):
        """Publish the data of the Packer p (2 MiB at most). QoS 1: returns after the PUBACK.

        topic: the result of `field`. p.start must be at least 6 + its length.
        """
        if self.unconfirmed:
            raise ValueError("unconfirmed")
        buf = p.buf
        at = p.start
        self.id = id = self.id % 65534 + 1
        if qos:
            at -= 2
            buf[at] = id >> 8
            buf[at + 1] = id & 255
        at -= len(topic)
        for n in topic:
            buf[at] = n
            at += 1
        at -= len(topic) + 1
        n = p.pos - at - 1
        if n >> 7:
            if n >> 14:
                buf[at] = n >> 14
                at -= 1
                n |= 16384
            buf[at] = n >> 7 & 255
            at -= 1
            n |= 128
        buf[at] = n & 255
        at -= 1
        buf[at] = 48 | qos << 1 | retain
        p.at = at
        if qos:
            self.unconfirmed = p
            self.resend(0)
        else:
            self.start()
            self.write(buf, at, p.pos)

    def resend(self, flags):
        """After a reconnect: repeat the publish in flight with its packet id. flags: 8, DUP."""
        p = self.unconfirmed
        p.buf[p.at] |= flags
        self.start()
        self.write(p.buf, p.at, p.pos)
        while self.next(4) != self.id:
            pass
        self.unconfirmed = None

    def poll(self, ms):
        """Wait up to ms for a packet and handle it; send PINGREQ if it is due. Returns whether there was a packet."""
        if self.keepalive and time.ticks_diff(time.ticks_ms(), self.sent) > self.keepalive * 750:
            self.call(bytes((0xC0, 0)), 13)
        got = self.io.readinto(self.buf, 1)  # before waiting: TLS may hold bytes that the poller does not see
        if got or self.wait(1, ms):
            self.start()
            self.recv(got or 0)
            return True

    def start(self):
        # Sets the deadlines of a call.
        self.due = time.ticks_add(time.ticks_ms(), 8 * self.timeout)
        self.extend()

    def extend(self):
        # A byte came or went: a slow link is no broken one.
        self.end = time.ticks_add(time.ticks_ms(), self.timeout)

    def left(self):
        # Milliseconds until the next deadline, 1000 at most: `feed` is called so often.
        self.feed()
        now = time.ticks_ms()
        left = min(time.ticks_diff(self.end, now), time.ticks_diff(self.due, now))
        if left > 0:
            return min(left, 1000)
        raise OSError("deadline")

    def wait(self, flags, ms):
        # Waits until the socket can be read (1, POLLIN everywhere) or written (4, POLLOUT). Returns whether it can.
        self.select.register(self.io, flags)
        return any(self.select.ipoll(ms))  # allocates nothing, unlike poll()

    def call(self, buf, type):
        # Writes a packet and waits for its response.
        self.start()
        self.write(buf, 0, len(buf))
        return self.next(type)

    def write(self, buf, at, end):
        while at < end:
            n = self.io.write(buf, at, end - at)
            if n:
                at += n
                self.extend()
            else:
                self.wait(4, self.left())
        self.sent = time.ticks_ms()

    def read(self, n, at):
        # Fills the buffer from byte `at` to n.
        while at < n:
            left = self.left()  # other packets do not extend the last deadline
            got = self.io.readinto(memoryview(self.buf)[at:] if at else self.buf, n - at)
            if got:
                at += got
                self.extend()
            elif got is None:
                self.wait(1, left)
            else:
                raise OSError("closed")

    def next(self, type):
        # Handles packets until one of this type comes. Returns the first two bytes of its body.
        while self.recv(0) != type:
            pass
        return self.buf[0] << 8 | self.buf[1]

    def recv(self, n):
        # Handles a packet of which n bytes, 0 or 1, have been read. Returns its type.
        self.read(1, n)
        buf = self.buf
        head = buf[0]
        n = 0
        for shift in range(0, 28, 7):
            self.read(1, 0)
            n |= (buf[0] & 127) << shift
            if buf[0] < 128:
                break
        size = min(n, len(buf))
        self.read(size, 0)
        if head >> 4 == 3:
            at = 2 + (buf[0] << 8 | buf[1])
            qos = head & 2
            if at + qos > size:
                raise OSError("closed")
            ack = bytes((0x40, 2)) + buf[at : at + qos]
            if n == size:
                view = memoryview(buf)
                self.on_message(bytes(view[2:at]), view[at + qos : n])
            while n > size:  # too large: skipped
                n -= size
                size = min(n, size)
                self.read(size, 0)
            self.write(ack, 0, 2 * qos)
        return head >> 4
