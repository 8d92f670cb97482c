"""One connection that publishes one message again and again, as fast as the broker reads or at a rate.

The packets are made once: what is measured is the broker and who reads from it, not this client.
"""

import select
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Self

from gateway.demo.brokers.address import BrokerLogin
from tests.support import mqtt_packets as mqtt
from tests.support.arrivals import DEADLINE_S

PIECE = 65_536
"""Bytes handed to the system at once."""
TICK_S = 0.005
PUBACK_BYTES = 4


class Flood(threading.Thread):
    """Publishes `payload` on `topic` in its context, by MQTT 3.1.1; leaving it returns once the broker has read all.

    `rate` in messages a second; None: as fast as the broker reads. `most` messages; None: until the end. Afterwards
    `sent` counts the messages, `confirmed` the PUBACKs, `seconds` is how long the broker took, and `error` says why the
    connection broke, if it did.
    """

    def __init__(
        self,
        host: str,
        port: int,
        login: BrokerLogin,
        topic: str,
        payload: bytes,
        qos: int,
        rate: float | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(name=f"flood of {topic}")
        name = mqtt.text(topic)
        if qos:
            packets = [mqtt.publish(name, payload, number) for number in range(1, 0x10000)]
        else:
            packets = [mqtt.packet(mqtt.PUBLISH, name + payload)] * (1 + PIECE // len(payload))
        self._size = len(packets[0])
        self._packets = memoryview(b"".join(packets))
        self._rate = rate
        self._most = sys.maxsize if most is None else most * self._size
        self._ended = threading.Event()
        self._received = 0
        self.sent = 0
        self.seconds = 0.0
        self.error: OSError | None = None
        self._sock = socket.create_connection((host, port))
        self._sock.sendall(mqtt.connect(topic.replace("/", "."), login.user, login.password))
        connack = self._sock.recv(4)
        assert connack[3:] == b"\0", f"{login} was refused: {connack!r}"

    @property
    def confirmed(self) -> int:
        return self._received // PUBACK_BYTES

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        self.join()

    def end(self) -> None:
        """No more messages."""
        self._ended.set()

    def run(self) -> None:
        began = time.monotonic()
        try:
            self._publish(began)
            self._sock.settimeout(DEADLINE_S)
            self._sock.sendall(mqtt.DISCONNECT)
            while data := self._sock.recv(1 << 20):
                self._received += len(data)
        except OSError as error:
            self.error = error
        finally:
            self._sock.close()
        self.seconds = time.monotonic() - began

    def _publish(self, began: float) -> None:
        written = 0
        self._sock.setblocking(False)
        while written < self._most and (not self._ended.is_set() or written % self._size):
            at = written % len(self._packets)
            most = min(PIECE, len(self._packets) - at, self._most - written)
            if self._ended.is_set():
                most = self._size - written % self._size
            elif self._rate is not None:
                most = min(most, int((time.monotonic() - began) * self._rate) * self._size - written)
            readable, writable, _ = select.select([self._sock], [self._sock] if most else [], [], TICK_S)
            if readable:
                data = self._sock.recv(1 << 20)
                if not data:
                    raise ConnectionResetError("the broker closed the connection")
                self._received += len(data)
            if writable:
                written += self._sock.send(self._packets[at : at + most])
                self.sent = written // self._size
