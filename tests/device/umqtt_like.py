"""A client with the methods of umqtt.simple, for the test of the port: MicroPython's sockets, blocking, QoS 0 and 1."""

import socket


class MQTTException(Exception):
    """Not an OSError, as umqtt's is none."""


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


class MQTTClient:
    def __init__(self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=None):
        self.address = socket.getaddrinfo(server, port or 1883)[0][-1]
        self.login = [text(client_id), text(user), text(password)]
        self.keepalive = keepalive
        self.pid = 0
        self.sock = None

    def set_callback(self, callback):
        self.callback = callback

    def connect(self, clean_session=True):
        self.sock = socket.socket()
        self.sock.connect(self.address)
        flags = 0xC0 | clean_session << 1
        self._packet(0x10, text("MQTT") + bytes((4, flags)) + self.keepalive.to_bytes(2, "big") + b"".join(self.login))
        answer = self.sock.read(4)
        if len(answer) < 4 or answer[3]:
            raise MQTTException(answer)
        return answer[2] & 1

    def ping(self):
        self.sock.write(b"\xc0\0")

    def subscribe(self, topic, qos=0):
        self.pid += 1
        self._packet(0x82, self.pid.to_bytes(2, "big") + text(topic) + bytes((qos,)))
        while self.wait_msg() != 0x90:
            pass

    def publish(self, topic, message, retain=False, qos=0):
        self.pid += 1
        self._packet(0x30 | qos << 1 | retain, text(topic) + (self.pid.to_bytes(2, "big") if qos else b"") + message)
        while qos and self.wait_msg() != 0x40:
            pass

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()

    def wait_msg(self):
        head = self.sock.read(1)
        self.sock.setblocking(True)
        if head is None:
            return None
        if head == b"":
            raise OSError(-1)
        n = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = self.sock.read(n)
        if head[0] & 0xF0 == 0x30:
            at = 2 + int.from_bytes(body[:2], "big")
            self.callback(body[2:at], body[at + (head[0] & 2) :])
            if head[0] & 2:
                self.sock.write(b"\x40\2" + body[at : at + 2])
        return head[0] & 0xF0

    def _packet(self, kind, body):
        n = len(body)
        size = bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7))
        self.sock.write(bytes((kind,)) + size + body)
