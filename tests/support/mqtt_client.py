"""A paho client for tests that waits for messages and for the packets that MQTT promises, with a deadline.

It must never sleep to see whether something comes: absence is shown by a sentinel that was sent later.
"""

import queue
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.demo.brokers.address import BrokerLogin
from tests.support.arrivals import DEADLINE_S

SESSION_S = 3600

T = TypeVar("T")


class Client:
    """One connection. `connected` makes one."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._connacks: queue.Queue[ReasonCode] = queue.Queue()
        self._subacks: queue.Queue[list[ReasonCode]] = queue.Queue()
        self._ends: queue.Queue[ReasonCode] = queue.Queue()
        self._messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        # A PUBACK and the next PUBLISH are small packets: Nagle's algorithm would hold the second back for 40 ms.
        client.on_socket_open = lambda _c, _u, sock: _without_delay(sock)
        client.on_connect = lambda _c, _u, _f, reason, _p: self._connacks.put(reason)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._subacks.put(reasons)
        client.on_disconnect = lambda _c, _u, _f, reason, _p: self._ends.put(reason)
        client.on_message = lambda _c, _u, message: self._messages.put(message)

    def connack(self) -> ReasonCode:
        return _taken(self._connacks, "CONNACK")

    def disconnected(self) -> ReasonCode:
        """Wait for the end of the connection."""
        return _taken(self._ends, "end of the connection")

    def subscribe(self, *filters: str, qos: int = 1) -> list[ReasonCode]:
        """Return what the broker granted."""
        self._client.subscribe([(each, qos) for each in filters])
        return _taken(self._subacks, "answer to a subscription")

    def publish(self, topic: str, payload: bytes, retain: bool = False, qos: int = 1) -> None:
        """Return after the PUBACK (QoS 2: the PUBCOMP)."""
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published(), f"no PUBACK for {topic}"

    def publish_unconfirmed(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def next(self) -> tuple[str, bytes]:
        """The next message, acked."""
        message = _taken(self._messages, "message")
        return message.topic, bytes(message.payload)

    def arrived(self) -> list[tuple[str, bytes]]:
        """What has come so far, for who knows that nothing is on its way."""
        found = []
        while not self._messages.empty():
            found.append(self.next())
        return found

    def end(self) -> None:
        """DISCONNECT; the session stays where the client has one."""
        self._client.disconnect()
        self._client.loop_stop()


def _without_delay(sock: object) -> None:
    assert isinstance(sock, socket.socket)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _taken(came: "queue.Queue[T]", what: str) -> T:
    try:
        return came.get(timeout=DEADLINE_S)
    except queue.Empty:
        raise AssertionError(f"no {what} in {DEADLINE_S:g} s") from None


@contextmanager
def connecting(
    host: str,
    port: int,
    credentials: BrokerLogin | None,
    client_id: str,
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    session: bool = False,
    tls: ssl.SSLContext | None = None,
    will: tuple[str, bytes] | None = None,
) -> Iterator[Client]:
    """A client that sent CONNECT; `connack` is the answer. `session`: keep it after the end of the connection.

    `will`: topic and payload, at QoS 1.
    """
    is_5 = protocol == MQTTProtocolVersion.MQTTv5
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=protocol,
        clean_session=None if is_5 else not session,
        reconnect_on_failure=False,
    )
    if credentials is not None:
        client.username_pw_set(credentials.user, credentials.password)
    if tls is not None:
        client.tls_set_context(tls)
    if will is not None:
        client.will_set(*will, qos=1)
    wrapped = Client(client)
    if is_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S if session else 0
        client.connect(host, port, clean_start=not session, properties=properties)
    else:
        client.connect(host, port)
    client.loop_start()
    try:
        yield wrapped
    finally:
        wrapped.end()


@contextmanager
def connected(
    host: str,
    port: int,
    credentials: BrokerLogin | None,
    client_id: str,
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    session: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Client]:
    """A client that was let in."""
    with connecting(host, port, credentials, client_id, protocol, session, tls) as client:
        reason = client.connack()
        assert not reason.is_failure, f"{client_id} was refused: {reason}"
        yield client
