"""A device, and a person who watches `dead`, as someone would write them who has the protocol page, paho and msgpack.

It must never import a package of this project: what it sends and understands is the page's, not the code's.
"""

import hashlib
import select
import ssl
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgpack
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.arrivals import DEADLINE_S, Arrivals
from tests.support.payloads import TAG

MQTT_3 = MQTTProtocolVersion.MQTTv311
MQTT_5 = MQTTProtocolVersion.MQTTv5


@dataclass(frozen=True, slots=True)
class Login:
    """Where to connect, and as whom."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One message to a device, decoded."""

    channel: str
    content: Any
    retained: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message on `dead`: the rejected payload, and its user properties."""

    topic: str
    payload: bytes
    properties: dict[str, str]


class _Connection:
    """A paho client that is connected and subscribed when its context is entered."""

    def __init__(self, login: Login, client_id: str, protocol: MQTTProtocolVersion, filters: list[str]) -> None:
        self._login = login
        self._filters = filters
        self._subscribed = threading.Event()
        clean = True if protocol == MQTT_3 else None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean, protocol=protocol)
        self._client.username_pw_set(login.user, login.password)
        if login.tls is not None:
            self._client.tls_set_context(login.tls)
        self._client.on_connect = self._connected
        self._client.reconnect_delay_set(1, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = lambda _client, _userdata, message: self._on_message(message)

    def __enter__(self) -> Self:
        self._client.connect(self._login.host, self._login.port)
        self._client.loop_start()
        if not self._subscribed.wait(DEADLINE_S):
            self.disconnect()
            raise AssertionError(f"{self._login} could not connect and subscribe in {DEADLINE_S:g} s")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.disconnect()

    def wait_resubscribed(self) -> None:
        """Wait until the client, which connects again by itself, has subscribed again."""
        assert self._subscribed.wait(DEADLINE_S), f"{self._login} did not subscribe again"

    def disconnect(self) -> None:
        """DISCONNECT."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe([(each, 1) for each in self._filters])

    def _on_message(self, message: paho.MQTTMessage) -> None:
        raise NotImplementedError


class PlainDevice(_Connection):
    """One device, named fleet/device by its user name."""

    def __init__(
        self, login: Login, name: str, protocol: MQTTProtocolVersion = MQTT_3, qos: int = 1, root: str = "edge"
    ) -> None:
        self.received: Arrivals[Received] = Arrivals("message to the device")
        self._base = f"{root}/{name}"
        self._qos = qos
        filters = [f"{self._base}/{channel}" for channel in ("plan", "ack", "block")]
        super().__init__(login, name.replace("/", "."), protocol, filters)

    def topic(self, channel: str) -> str:
        return f"{self._base}/{channel}"

    def send(self, channel: str, payload: bytes, retain: bool = False) -> None:
        """Return once the packet left (QoS 0) or the broker confirmed it (QoS 1, 2). A hello is always retained."""
        info = self._client.publish(self.topic(channel), payload, self._qos, retain=retain or channel == "hello")
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published(), f"no PUBACK for {channel}"

    def hello(self, *elements: Any) -> None:
        self.send("hello", msgpack.packb(list(elements)))

    def leave_will(self, payload: bytes) -> None:
        """Before it connects: the last will, on `live`."""
        self._client.will_set(self.topic("live"), payload, 1, retain=True)

    def live(self, *elements: Any) -> None:
        self.send("live", msgpack.packb(list(elements)), retain=True)

    def fall_silent(self) -> None:
        """It does nothing more, and its connection stays."""
        self._client.loop_stop()

    def cut(self) -> None:
        """Its connection ends without DISCONNECT."""
        connection = self._client.socket()
        self.fall_silent()
        assert connection is not None
        connection.close()

    def heartbeat(self, *elements: Any) -> None:
        self.send("hb", msgpack.packb(list(elements)))

    def numbered(self, *numbers: int, tag: int = TAG) -> None:
        """Heartbeats, each with its number as its time, its only sample and its seq."""
        for number in numbers:
            self.heartbeat(tag, number, [number], None, None, None, number)

    def get(self, *elements: Any) -> None:
        self.send("get", msgpack.packb(list(elements)))

    def ack(self, seq: int | None = None, within: float = DEADLINE_S) -> tuple[int, str]:
        """The code and the detail of the next ack of `seq`, or of the next one that has a nil in its place."""
        received = self.received.next(lambda each: each.channel == "ack" and each.content[0] == seq, within)
        _, code, _, *detail = received.content
        return code, "".join(detail)

    def read(self, *elements: Any) -> None:
        self.send("read", msgpack.packb(list(elements)))

    def block(self) -> list[Any]:
        """The next [digest, index, offset, total, data]."""
        return list(self.received.next(lambda each: each.channel == "block").content)

    def plan(self) -> Received:
        return self.received.next(lambda each: each.channel == "plan")

    def acked(self) -> list[tuple[int | None, int]]:
        """(seq, code) of the acks that came and were not taken, in their order."""
        return [(each.content[0], each.content[1]) for each in self.received.so_far() if each.channel == "ack"]

    def _on_message(self, message: paho.MQTTMessage) -> None:
        content = msgpack.unpackb(message.payload) if message.payload else None
        self.received.put(Received(message.topic.rpartition("/")[2], content, message.retain))


class Operator(_Connection):
    """A person who looks at the rejected payloads of one fleet."""

    def __init__(self, login: Login, fleet: str, root: str = "edge") -> None:
        self.dead: Arrivals[DeadLetter] = Arrivals("message on dead")
        super().__init__(login, f"operator-of-{fleet}", MQTT_5, [f"{root}/{fleet}/+/dead"])

    def _on_message(self, message: paho.MQTTMessage) -> None:
        properties = dict(getattr(message.properties, "UserProperty", ()))
        self.dead.put(DeadLetter(message.topic, bytes(message.payload), properties))


def send_nothing(login: Login, keepalive: int) -> None:
    """Connect, send nothing more, and return when the broker has ended the connection: after 1.5 times `keepalive`."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "silent", protocol=MQTT_5, reconnect_on_failure=False)
    client.username_pw_set(login.user, login.password)
    client.connect(login.host, login.port, keepalive)
    while (connection := client.socket()) is not None:  # without loop_misc there is no ping
        readable, _, _ = select.select([connection], [], [], DEADLINE_S)
        assert readable, "the broker keeps a client that sends nothing"
        client.loop_read()


def digest(deployments: list[Any]) -> int:
    """The digest of a plan, as the page defines it, of a list that has every URL, size nil and no trailing nils."""
    first = hashlib.sha256(msgpack.packb(deployments)).digest()[:4]
    return int.from_bytes(first, "big") & 0x3FFFFFFF or 1
