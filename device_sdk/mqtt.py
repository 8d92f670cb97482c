"""An MQTT 3.1.1 client for boards: QoS 0 and 1, retained messages, a will, keepalive, TLS, a deadline on every call.

One packet is one write. One QoS 1 publish is in flight at a time; it stays in its buffer until the broker confirms it.
After a reconnect it is repeated with DUP and the same packet id. Publish and PUBACK allocate nothing. The socket does
not block: each call waits in a poller until its deadline. It must not import the agent.
"""

import select
import socket
import time


def field(text):
    """A string of MQTT: two bytes of length, then the bytes."""
    text = text if type(text) is bytes else text.encode()
    return len(text).to_bytes(2, "big") + text


def _packet(type, value):
    n = len(value)
    head = bytearray((type,))
    while n >> 7:
        head.append(n & 127 | 128)
        n >>= 7
    head.append(n)
    return head + value


class Mqtt:
    """flags of CONNECT: 2 = clean session; 4 = will, 8 = with QoS 1, 32 = retained; 64 = password, 128 = user.

    fields: client id, will's topic and payload, user, password, as the flags say. keepalive: seconds, 0: none.
    tls(sock, host): returns the wrapped socket (on CPython `host.tls(context)`); None: no TLS.
    size: bytes of the largest packet that is accepted (topic and payload); a larger one is skipped and confirmed.
    on_message(topic, payload): bytes and a memoryview, which is valid only during the call. `timeout`: a call ends
    after so many milliseconds without a byte, and after eight times as many in any case. `open`: whether there is a
    connection. `granted`: whether the broker has granted the topics of subscribe() in this session; None: it has not
    answered. `p`: the Packer of a QoS 1 publish in flight. `feed`: called at least each second while a call waits,
    but for the resolver and a handshake in `tls`. Every failure is an OSError. After one, only connect() may be called.
    OSError("refused", code): the broker refuses.
    """

    timeout = 10000
    open = granted = False
    p = None
    feed = int  # does nothing

    def __init__(self, host, port, flags, fields, keepalive, tls, size, on_message):
        self.broker = host, port, tls
        self.keepalive = keepalive
        self.receive = on_message
        self.buf = bytearray(size)
        body = field("MQTT") + (4 << 24 | flags << 16 | keepalive).to_bytes(4, "big")
        for value in fields:
            body += field(value)
        self.hello = _packet(16, body)

    def connect(self):
        """Open the connection. Clears `granted` if the broker has no session, or may have a new one."""
        self.close()
        host, port, tls = self.broker
        # A name may have IPv6 and IPv4 addresses, of which only some may work.
        for address in socket.getaddrinfo(host, port, 0, 1):  # of a stream
            try:
                self.start()
                self.io = io = socket.socket(address[0])
                self.open = True
                self.select = select.poll()
                io.settimeout(0)
                try:
                    io.connect(address[-1])
                except OSError as error:
                    if error.args[0] | 4 != 119:  # EINPROGRESS is 115 or 119
                        raise
                while not self.wait(4, self.left()):
                    pass
                if tls:
                    io.settimeout(5)  # a handshake in `tls` can feed no watchdog
                    self.io = tls(io, host)
                    io.settimeout(0)
                    self.select.register(io, 0)
                known = self.granted
                self.granted = False  # where this is cut, the broker may keep a session without the subscriptions
                self.call(self.hello, 2)
                break
            except OSError as error:
                failed = error
                self.close()
        else:
            raise failed
        kept, code = self.buf[:2]
        if code:
            raise OSError("refused", code)
        self.granted = kept and known

    def close(self):
        """Close the connection without DISCONNECT: the broker publishes the will."""
        if self.open:
            self.open = False
            self.io.close()

    def disconnect(self):
        """Send DISCONNECT and close: the broker deletes the will."""
        if self.open:
            self.write(b"\xe0\0", 0, 2)
            self.close()

    def subscribe(self, root, topics, qos):
        """Ask for the topics root + each. The next QoS 1 publish waits for the answer, not this call.

        What reads the answer raises OSError("refused", 128) if a topic is denied.
        """
        buf = b"\xff\xff"
        for topic in topics:
            buf += field(root + topic) + bytes((qos,))
        self.granted = None
        self.call(_packet(0x82, buf), 0)

    def publish(self, topic, p, qos, retain):
        """Publish the data of the Packer p (2 MiB at most). QoS 1: returns after the PUBACK.

        topic: the result of `field`. p.start must be at least 6 + its length. Where `p` is set, send() it first.
        """
        buf = p.buf
        at = p.start
        if qos:
            at -= 2
            buf[at] = 0
            buf[at + 1] = 1  # packet id: free again with each PUBACK
        at -= len(topic)
        for n in topic:
            buf[at] = n
            at += 1
        at -= len(topic) + 1
        n = p.pos - at - 1
        for shift in range(14, -1, -7):
            byte = n >> shift
            if byte:
                buf[at] = byte & 127 | (byte > 127) << 7
                at -= 1
        buf[at] = 48 | qos << 1 | retain
        p.at = at
        if qos:
            self.p = p
        self.send(p, 0)

    def send(self, p, flags):
        """After a reconnect: repeat the publish of p, which is in flight, with its packet id. flags: 8, DUP."""
        p.buf[p.at] |= flags
        self.start()
        self.write(p.buf, p.at, p.pos)
        while self.p or self.granted is None:
            self.recv(0)

    def poll(self, ms):
        """Wait up to ms for a packet and handle it; send PINGREQ if it is due. Returns whether there was a packet."""
        if self.keepalive and time.ticks_diff(time.ticks_ms(), self.sent) > self.keepalive * 750:
            self.call(b"\xc0\0", 13)
        got = self.io.readinto(self.buf, 1)  # before waiting: TLS may hold bytes that the poller does not see
        if got or self.wait(1, ms):
            self.start()
            self.recv(got or 0)
            return True

    def start(self):
        # Sets the deadlines of a call.
        self.end = end = time.ticks_add(time.ticks_ms(), self.timeout)
        self.due = time.ticks_add(end, 7 * self.timeout)

    def left(self):
        # Milliseconds until the next deadline, 1000 at most: `feed` is called so often.
        self.feed()
        now = time.ticks_ms()
        left = min(time.ticks_diff(self.end, now), time.ticks_diff(self.due, now), 1000)
        if left > 0:
            return left
        raise OSError("deadline")

    def wait(self, flags, ms):
        # Waits until the socket can be read (1, POLLIN everywhere) or written (4, POLLOUT). Returns whether it can.
        self.select.register(self.io, flags)
        for _ in self.select.ipoll(ms):  # allocates nothing, unlike poll()
            self.end = time.ticks_add(time.ticks_ms(), self.timeout)  # a slow link is no broken one
            return True

    def call(self, buf, type):
        # Writes a packet and waits for a response of this type, which is in the buffer then. 0: there is none.
        self.start()
        self.write(buf, 0, len(buf))
        while type and self.recv(0) != type:
            pass

    def write(self, buf, at, end):
        while at < end:
            n = self.io.write(buf, at, end - at)
            if n:
                at += n
                self.sent = time.ticks_ms()
            else:
                self.wait(4, self.left())

    def read(self, n, at):
        # Fills the buffer from byte `at` to n.
        while at < n:
            left = self.left()  # other packets do not extend the last deadline
            got = self.io.readinto(memoryview(self.buf)[at:] if at else self.buf, n - at)
            if got:
                at += got
            elif got is None:
                self.wait(1, left)
            else:
                raise OSError("closed")

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
        at = buf[0] << 8 | buf[1]  # length of the topic, or a packet id
        if head >> 4 == 3:
            at += 2
            end = at + (head & 2)  # of the packet id, with QoS 1
            if end > size:
                raise OSError("closed")
            if n == size:
                self.receive(bytes(buf[2:at]), memoryview(buf)[end:n])
            if at < end:
                buf[at - 2] = 64
                buf[at - 1] = 2
                self.write(buf, at - 2, end)
            while n > size:  # too large: skipped
                n -= size
                size = min(n, size)
                self.read(size, 0)
        head >>= 4
        if head == 4 and at == 1:
            self.p = None
        if head == 9:
            if b"\x80" in buf[2:size]:
                raise OSError("refused", 128)
            self.granted = True
        return head
