"""One connection to the broker: a paho MQTT 5 client on the asyncio loop, by paho's own external-loop hooks.

Knows topics, bytes and packet ids; nothing of devices. Runs no thread but the one that opens the TCP connection. A
callback that is handed in must not raise: paho would lose its place in the stream.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerError, BrokerRefused
from gateway.mqtt import packets
from gateway.mqtt.buffered_socket import READ, BufferingContext
from gateway.mqtt.event_loop import PahoLoopAdapter
from gateway.mqtt.packets import Puback, Publish

Confirmed: TypeAlias = Callable[[int], None]
"""Told the broker's MQTT 5 reason code of a publication."""

SESSION_TAKEN_OVER = 0x8E
"""MQTT 5: another client connected with our client id."""
PACKET_TOO_LARGE = 0x95
"""MQTT 5: what `then` hears of a publication that the broker would not take; it is not sent."""
PROPERTIES_ROOM = 4096
"""Bytes of a packet that are left to its topic and properties."""
INFLIGHT = 1000
"""Unconfirmed publications at once, where the broker's Receive Maximum is not lower."""
OUR_IDS = 0x8000
"""Packet ids from here on are those of publications; paho counts its subscriptions from 1."""
GOODBYE = 1.0
"""Seconds that the broker has to close a connection after our DISCONNECT."""


@dataclass(frozen=True, slots=True)
class BrokerEndpoint:
    """Where the broker is and who connects. `keepalive` and `session_expiry` in seconds (0: no session is kept)."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    keepalive: int = 30
    session_expiry: int = 0
    timeout: float = 10.0


class _Publication(NamedTuple):
    """What leaves once the broker has room for it."""

    topic: str
    payload: bytes
    retain: bool
    properties: bytes
    then: Confirmed


class BrokerConnection:
    """Opened again and again with the same session; `lost` is set while no connection stands."""

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        on_message: Callable[[Publish], None],
        on_connected: Callable[[bool], None] = lambda resumed: None,
        receive_maximum: int = 65_535,
    ) -> None:
        self._endpoint = endpoint
        self._on_connected = on_connected
        self._receive_maximum = receive_maximum
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._unconfirmed: dict[int, _Publication] = {}
        self._unsent: deque[_Publication] = deque()
        self._last_id = OUR_IDS
        self._window = self._largest = 0
        self.stands = asyncio.Event()
        self.lost = asyncio.Event()
        self.lost.set()
        self.fault = ""
        self.announced: dict[str, Any] = {}
        """The properties of the broker's last CONNACK, by their names in MQTT 5 without spaces."""
        self._client = self._make_client()
        self._sockets = PahoLoopAdapter(self._client, endpoint.keepalive, on_message, self._confirmed)
        self.pause, self.resume = self._sockets.pause, self._sockets.resume

    @property
    def up(self) -> bool:
        """Whether a connection stands."""
        return self.stands.is_set()

    def __repr__(self) -> str:
        state = "up" if self.up else "down"
        return f"<Link {self._endpoint.client_id} {state}, {len(self._unconfirmed)} unconfirmed>"

    def _make_client(self) -> paho.Client:
        endpoint = self._endpoint
        client = paho.Client(CallbackAPIVersion.VERSION2, endpoint.client_id, protocol=paho.MQTTv5, manual_ack=True)
        client.connect_timeout = endpoint.timeout
        if endpoint.username is not None:
            client.username_pw_set(endpoint.username, endpoint.password)
        client.tls_set_context(cast("ssl.SSLContext", BufferingContext(endpoint.tls)))
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = client.on_unsubscribe = self._answered
        return client

    async def open(self) -> None:
        """Connect. Raises BrokerError where the broker cannot be reached or refuses."""
        endpoint = self._endpoint
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = endpoint.session_expiry
        properties.ReceiveMaximum = self._receive_maximum
        self._end()
        self._opened = self._loop.create_future()
        try:
            async with asyncio.timeout(endpoint.timeout):
                await self._sockets.connect(
                    endpoint.host, endpoint.port, clean_start=endpoint.session_expiry == 0, properties=properties
                )
                await self._opened
        except asyncio.CancelledError:
            self._end()
            await self._sockets.idle()
            raise
        except TimeoutError:
            self._end()
            raise BrokerError(f"{endpoint.host}:{endpoint.port} did not answer in {endpoint.timeout:g} s") from None
        except (OSError, ValueError) as error:
            self._end()
            raise BrokerError(f"{endpoint.host}:{endpoint.port}: {error}") from error

    async def close(self) -> None:
        """Say goodbye and let the broker hear all of it; the session stays as its expiry says."""
        if self.up:
            twin = self._sockets.twin()
            self._client.disconnect()
            self._client.loop_write()
            try:
                await self._hear_out(twin)
            finally:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        """No connection stands from here on, and a CONNACK that still comes is too late."""
        if not self._opened.cancel() and not self._opened.cancelled():
            self._opened.exception()  # perhaps nobody has asked for it
        self._sockets.close()
        self.stands.clear()
        self.lost.set()

    async def _hear_out(self, twin: socket.socket) -> None:
        """Read until the broker has closed too. To close on messages that are not read would be a reset, which can
        overtake the last PUBACKs: the broker would deliver again what the cloud accepted."""
        with twin, suppress(OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                twin.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(twin, READ):
                    pass

    def publish(self, topic: str, payload: bytes, retain: bool, properties: bytes, then: Confirmed) -> None:
        """Publish with QoS 1; `then` hears the broker's confirmation, over however many connections."""
        self._unsent.append(_Publication(topic, payload, retain, properties, then))
        self._send_unsent()

    def _send_unsent(self) -> None:
        """Send what the broker's Receive Maximum lets pass."""
        while self._unsent and self.up and len(self._unconfirmed) < self._window:
            each = self._unsent.popleft()
            if len(each.payload) > self._largest - PROPERTIES_ROOM:
                self._loop.call_soon(each.then, PACKET_TOO_LARGE)
                continue
            packet_id = self._next_id()
            self._unconfirmed[packet_id] = each
            self._sockets.send(packets.publish(each.topic, each.payload, packet_id, each.retain, each.properties))

    def _next_id(self) -> int:
        """One that is free, and not from the half in which paho counts its subscriptions."""
        while True:
            self._last_id = self._last_id + 1 if self._last_id < 0xFFFF else OUR_IDS
            if self._last_id not in self._unconfirmed:
                return self._last_id

    def _confirmed(self, puback: Puback) -> None:
        each = self._unconfirmed.pop(puback.packet_id, None)
        if each is not None:
            each.then(puback.reason)
        self._send_unsent()

    async def subscribe(self, filters: Sequence[tuple[str, SubscribeOptions]]) -> list[ReasonCode]:
        """Subscribe; the broker's reason code for each filter. Raises BrokerError where no answer comes."""
        return await self._answer(*self._client.subscribe(list(filters)))

    async def give_up(self, filters: Sequence[str]) -> None:
        """Unsubscribe; returns when the broker has answered. Raises BrokerError where no answer comes."""
        await self._answer(*self._client.unsubscribe(list(filters)))

    async def _answer(self, result: int, mid: int | None) -> list[ReasonCode]:
        if result != paho.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerError("the connection broke while subscribing")
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            while not (await asyncio.wait((answer,), timeout=self._endpoint.timeout))[0]:
                # The answer may stand behind messages that are not read, or so many that they take their time.
                if not self._sockets.paused and self._sockets.silence >= self._endpoint.timeout:
                    raise BrokerError(f"no answer to a subscription in {self._endpoint.timeout:g} s")
            return answer.result()
        finally:
            self._answers.pop(mid, None)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe, without waiting for the answer."""
        if filters and self.up:
            self._client.unsubscribe(list(filters))

    def ack(self, packet_id: int) -> None:
        """Send the PUBACK of a message of this connection."""
        if self.up:
            self._sockets.ack(packet_id)

    # What paho tells

    def _connected(self, client: object, userdata: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._opened.done():
            return
        if reason.is_failure:
            self._opened.set_exception(BrokerRefused(reason.value, f"the broker refuses the connection: {reason}"))
            return
        self._sockets.connected()
        self.stands.set()
        self.lost.clear()
        self.announced = properties.json()
        self._window = min(INFLIGHT, self.announced.get("ReceiveMaximum", INFLIGHT))
        self._largest = self.announced.get("MaximumPacketSize", 1 << 28)
        self._on_connected(flags.session_present)
        self._unsent.extendleft(reversed(self._unconfirmed.values()))  # the old connection took the answers with it
        self._unconfirmed.clear()
        self._send_unsent()
        if not self._opened.done():  # who was called just now may have ended the opening
            self._opened.set_result(None)

    def _disconnected(self, client: object, userdata: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._sockets.disconnected()
        self.stands.clear()
        self.lost.set()
        self.fault = str(reason)
        if reason.value == SESSION_TAKEN_OVER:
            self.fault += (
                f": another client came with the client id {self._endpoint.client_id}; is there a second gateway,"
                " or is this a listener for devices, with use_username_as_clientid?"
            )
        fault = BrokerError(f"the connection broke: {self.fault}")
        waits: list[asyncio.Future[Any]] = [self._opened, *self._answers.values()]
        for waiting in waits:
            if not waiting.done():
                waiting.set_exception(fault)

    def _answered(self, client: object, userdata: object, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reasons)
