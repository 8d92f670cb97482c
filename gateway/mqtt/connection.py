"""One MQTT 5 connection to the broker: a paho client on the asyncio loop, by paho's hooks for external loops.

Handles topics, bytes and packet ids. It runs no thread but the one in which paho connects. A callback must not
raise: paho would lose its place in the stream.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.errors import BrokerClosed, BrokerError, BrokerRefused, explain, one_line
from gateway.mqtt import packets, reasons
from gateway.mqtt.buffered_socket import READ_SIZE, BufferingContext
from gateway.mqtt.event_loop import PahoClient, PahoLoopAdapter
from gateway.mqtt.limits import BrokerLimits
from gateway.mqtt.packets import Puback, Publish, RejectedTopic

OnPuback: TypeAlias = Callable[[int], None]
"""Called with the MQTT 5 reason code of a publication: the broker's, or PACKET_TOO_LARGE where it was not sent. With
CLOSED added where it was given up."""

MAX_INFLIGHT = 1000
"""Unacknowledged publications at once, where the broker's Receive Maximum is not lower."""
FIRST_PACKET_ID = 0x8000
"""Packet ids of publications begin here; paho counts its subscriptions from 1."""
TLS_PORT = "is this a port with TLS? Then mqtt_url begins with mqtts://"
PLAIN_PORT = "is this a port without TLS? Then mqtt_url begins with mqtt://"
NO_CERTIFICATE = "does this listener ask for a certificate (mqtt_cert_file)?"
CLOSE_TIMEOUT = 1.0
"""Seconds that the broker has to close a connection after our DISCONNECT."""

_OWN_REASONS = {
    reasons.UNSPECIFIED: "it was closed without a reason: the broker's log says more",
    reasons.KEEPALIVE_TIMEOUT: "the broker did not answer in time (keep alive): look at the network and its load",
}
"""paho's reasons where no DISCONNECT came."""


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


def is_handshake_failure(error: Exception) -> bool:
    """Whether a TLS handshake failed because the other side may not speak TLS: not by its certificate."""
    not_tls = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError)
    return not_tls or isinstance(error, ConnectionResetError)


class _Publication(NamedTuple):
    topic: str
    payload: bytes
    retain: bool
    properties: bytes
    on_puback: OnPuback


class BrokerConnection:
    """Can be opened many times with the same session. `connected` and `disconnected` are opposite events.

    Where the broker ends the connection, what was in flight is sent again one by one: the publication that is alone
    when the broker does so again is given up, or it would end every connection, and nothing behind it would be sent.
    Without a DISCONNECT it must be alone twice, and closes are not counted that ended the other connection too. One
    without a PUBACK holds back the others for the endpoint's `timeout` at most.

    `other_connection`: the number of the connection of the same gateway that a restart or a cut network ends too.
    `rejected`: topics whose messages go to `on_rejected` instead of `on_message`, many at once, as their PUBACKs.
    """

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        on_message: Callable[[Publish], None],
        on_connected: Callable[[bool], None] = lambda session_present: None,
        receive_maximum: int = 65_535,
        rejected: Mapping[bytes, RejectedTopic] | None = None,
        on_rejected: Callable[[bytearray], None] = lambda pubacks: None,
        other_connection: Callable[[], int] = lambda: 0,
    ) -> None:
        self._endpoint = endpoint
        self._on_connected = on_connected
        self._receive_maximum = receive_maximum
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._replies: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._unacknowledged: dict[int, _Publication] = {}
        self._unsent: deque[_Publication] = deque()
        self._last_id = FIRST_PACKET_ID
        self._suspects = 0
        """Publications, the next ones, of which one may have ended a connection: each is sent alone."""
        self._close_reason: int | None = None
        """CLOSED with the reason of a close that a publication may have caused, until the next connection."""
        self._alone_at_close: _Publication | None = None
        """The one that was alone in flight when the broker closed without a reason."""
        self._other_connection, self._other_number = other_connection, 0
        self._may_subscribe = asyncio.Event()
        """Cleared while suspects are sent: a subscription could be what ends the connection next."""
        self._may_subscribe.set()
        self.connected = asyncio.Event()
        self.disconnected = asyncio.Event()
        self.disconnected.set()
        self.disconnect_reason = ""
        self.limits = BrokerLimits()
        """What the broker granted at the last connection."""
        self._client = self._make_client()
        skipped = ({} if rejected is None else rejected), on_rejected
        self._adapter = PahoLoopAdapter(self._client, endpoint.keepalive, on_message, self._on_puback, *skipped)
        self.pause, self.resume = self._adapter.pause, self._adapter.resume

    @property
    def up(self) -> bool:
        return self.connected.is_set()

    def __repr__(self) -> str:
        state = "up" if self.up else "down"
        count = len(self._unacknowledged)
        return f"<BrokerConnection {self._endpoint.client_id} {state}, {count} unacknowledged>"

    def _make_client(self) -> PahoClient:
        endpoint = self._endpoint
        client = PahoClient(CallbackAPIVersion.VERSION2, endpoint.client_id, protocol=paho.MQTTv5, manual_ack=True)
        client.connect_timeout = endpoint.timeout
        if endpoint.username is not None:
            client.username_pw_set(endpoint.username, endpoint.password)
        client.tls_set_context(cast("ssl.SSLContext", BufferingContext(endpoint.tls)))
        client.on_connect = self._on_connack
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = client.on_unsubscribe = self._on_reply
        return client

    async def open(self) -> None:
        """Connect. Raises BrokerError where the broker cannot be reached or refuses."""
        endpoint = self._endpoint
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = endpoint.session_expiry
        properties.ReceiveMaximum = self._receive_maximum
        self._reset()
        self._opened = self._loop.create_future()
        try:
            async with asyncio.timeout(endpoint.timeout):
                await self._adapter.connect(
                    endpoint.host, endpoint.port, clean_start=endpoint.session_expiry == 0, properties=properties
                )
                await self._opened
        except asyncio.CancelledError:
            self._reset()
            await self._adapter.wait_connect_thread()
            raise
        except TimeoutError:
            self._reset()
            raise BrokerError(f"{endpoint.host}:{endpoint.port} did not answer in {endpoint.timeout:g} s") from None
        except BrokerRefused:
            raise
        except BrokerError as error:
            raise BrokerError(f"{error}; {NO_CERTIFICATE if endpoint.tls else TLS_PORT}") from None
        except (OSError, ValueError) as error:
            self._reset()
            reason = explain(error, f"{endpoint.host}:{endpoint.port}")
            is_plain = endpoint.tls is not None and is_handshake_failure(error)
            raise BrokerError(f"{reason}; {PLAIN_PORT}" if is_plain else reason) from error

    async def close(self) -> None:
        """Send DISCONNECT and wait until the broker has read everything; the session stays until it expires."""
        if self.up:
            sock = self._adapter.dup_socket()
            self._client.disconnect()
            self._client.loop_write()
            try:
                await self._drain(sock)
            finally:
                self._reset()
        else:
            self._reset()

    def _reset(self) -> None:
        """There is no connection from now on; a CONNACK that still arrives is ignored."""
        if not self._opened.cancel() and not self._opened.cancelled():
            self._opened.exception()  # marks it as retrieved
        self._adapter.close()
        self._may_subscribe.set()
        self.connected.clear()
        self.disconnected.set()

    async def _drain(self, sock: socket.socket) -> None:
        """Read until the broker has closed too. To close while messages are unread would reset the connection, which
        can drop the last PUBACKs: the broker would deliver again what the service accepted."""
        with sock, suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                sock.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(sock, READ_SIZE):
                    pass

    def publish(self, topic: str, payload: bytes, retain: bool, properties: bytes, on_puback: OnPuback) -> None:
        """Publish with QoS 1, or with QoS 0 or not retained where the broker allows no more. After a disconnect it is
        sent again on the next connection."""
        self._unsent.append(_Publication(topic, payload, retain, properties, on_puback))
        self._send_unsent()

    def _send_unsent(self) -> None:
        """As many as the broker's limits allow."""
        limits = self.limits
        qos = 1 if limits.maximum_qos else 0
        most = 1 if self._suspects else min(MAX_INFLIGHT, limits.receive_maximum)
        while self._unsent and len(self._unacknowledged) < most and self.connected.is_set():
            topic, payload, retain, properties, on_puback = publication = self._unsent.popleft()
            packet_id = self._next_id()
            packet = packets.publish(topic, payload, packet_id, retain and limits.retain, properties, qos)
            if len(packet) > limits.maximum_packet_size:
                self._one_suspect_less()
                self._loop.call_soon(on_puback, reasons.PACKET_TOO_LARGE)
                continue
            self._unacknowledged[packet_id] = publication
            self._adapter.send(packet)
            if self._suspects:
                self._loop.call_later(self._endpoint.timeout, self._end_suspicion, packet_id, publication)

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id + 1 if self._last_id < 0xFFFF else FIRST_PACKET_ID
            if self._last_id not in self._unacknowledged:
                return self._last_id

    def _on_puback(self, puback: Puback) -> None:
        publication = self._unacknowledged.pop(puback.packet_id, None)
        if publication is not None:
            self._one_suspect_less()
            publication.on_puback(puback.reason)
        if self._unsent:
            self._send_unsent()

    def _on_flushed(self) -> None:
        """All was sent. At QoS 0 that is all that will be known of it."""
        for packet_id in tuple(self._unacknowledged):
            self._on_puback(Puback(packet_id, 0))

    async def subscribe(self, filters: Sequence[tuple[str, SubscribeOptions]]) -> list[ReasonCode]:
        """The broker's reason code for each filter. Raises BrokerError where no whole answer comes, BrokerClosed where
        the broker ends the connection instead."""
        await self._may_subscribe.wait()
        batches = self.limits.batches([each for each, _ in filters])
        codes = await self._replies_to(self._client.subscribe(list(filters[batch])) for batch in batches)
        if len(codes) != len(filters):
            raise BrokerError(f"the broker answers {len(codes)} of {len(filters)} filters: {reasons.DEFECT}")
        return codes

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Returns when the broker has answered. Raises BrokerError where no answer comes."""
        batches = self.limits.batches(filters)
        await self._replies_to(self._client.unsubscribe(list(filters[batch])) for batch in batches)

    async def _replies_to(self, requests: Iterable[tuple[int, int | None]]) -> list[ReasonCode]:
        return [reason for request in requests for reason in await self._reply(*request)]

    async def _reply(self, result: int, mid: int | None) -> list[ReasonCode]:
        if result != paho.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerError("the connection broke while subscribing")
        reply: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._replies[mid] = reply
        try:
            while not (await asyncio.wait((reply,), timeout=self._endpoint.timeout))[0]:
                # The answer may wait behind messages that are not read, or behind very many.
                if not self._adapter.paused and self._adapter.idle_seconds >= self._endpoint.timeout:
                    raise BrokerError(f"no answer to a subscription in {self._endpoint.timeout:g} s")
            return reply.result()
        finally:
            self._replies.pop(mid, None)

    def unsubscribe_nowait(self, filters: Sequence[str]) -> None:
        for batch in self.limits.batches(filters) if filters and self.up else ():
            self._client.unsubscribe(list(filters[batch]))

    def ack(self, packet_id: int) -> None:
        """Send the PUBACK of a message of this connection."""
        if self.connected.is_set():
            self._adapter.send(packets.puback(packet_id))

    def send_pubacks(self, pubacks: bytes | bytearray) -> None:
        """As `ack`, many of them as they travel."""
        if self.connected.is_set():
            self._adapter.send(pubacks)

    def _on_connack(self, client: object, userdata: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._opened.done():
            return
        granted = properties.json()
        if reason.is_failure:
            text = reasons.explain(reason.value, _detail(granted))
            self._opened.set_exception(BrokerRefused(reason.value, f"the broker refuses the connection: {text}"))
            return
        endpoint = self._endpoint
        self.limits = limits = BrokerLimits.from_connack(granted, endpoint.keepalive, endpoint.session_expiry)
        self._adapter.start_keepalive(limits.keepalive)
        self._suspect_in_flight()
        if self._suspects:
            self._may_subscribe.clear()
        self._adapter.on_flushed = None if limits.maximum_qos else self._on_flushed
        self.connected.set()
        self.disconnected.clear()
        self._on_connected(flags.session_present)
        self._unsent.extendleft(reversed(self._unacknowledged.values()))  # their PUBACKs were lost with the connection
        self._unacknowledged.clear()
        self._send_unsent()
        if not self._opened.done():  # a callback may have cancelled `open`
            self._opened.set_result(None)

    def _on_disconnect(self, client: object, userdata: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        was_up = self.up
        self._may_subscribe.set()  # and fail, without a connection
        self._adapter.stop_keepalive()
        self.connected.clear()
        self.disconnected.set()
        from_broker = flags.is_disconnect_packet_from_server
        if from_broker:
            self.disconnect_reason = reasons.explain(reason.value, _detail(properties.json()))
            if reason.value == reasons.SESSION_TAKEN_OVER:
                self.disconnect_reason += f" client_id: {self._endpoint.client_id}"
        else:
            self.disconnect_reason = _OWN_REASONS.get(reason.value, str(reason))
        code = reason.value
        text = f"the connection broke: {self.disconnect_reason}"
        error = BrokerError(text)
        if was_up and (code in reasons.ENDED_BY_A_PUBLICATION if from_broker else code == reasons.UNSPECIFIED):
            given = code if from_broker else 0
            error = BrokerClosed(text, given)
            self._close_reason = reasons.CLOSED | given
        waiting: list[asyncio.Future[Any]] = [self._opened, *self._replies.values()]
        for each in waiting:
            if not each.done():
                each.set_exception(error)

    def _suspect_in_flight(self) -> None:
        """Before anything is sent on a new connection: whether a publication ended the last one. It is known only now
        whether the other connection ended too."""
        reason, self._close_reason = self._close_reason, None
        before, self._other_number = self._other_number, self._other_connection()
        unexplained = reason == reasons.CLOSED
        if reason is None or not self._unacknowledged or (unexplained and self._other_number != before):
            return
        if not self._suspects:
            self._suspects = len(self._unacknowledged)
            return
        packet_id, alone = next(iter(self._unacknowledged.items()))
        if unexplained and alone is not self._alone_at_close:
            self._alone_at_close = alone
            return
        self._alone_at_close = None
        del self._unacknowledged[packet_id]
        self._one_suspect_less()
        alone.on_puback(reason)

    def _end_suspicion(self, packet_id: int, alone: _Publication) -> None:
        """It has neither PUBACK nor close in `timeout` seconds: the others must not wait for it."""
        if self._suspects and self._unacknowledged.get(packet_id) is alone:
            self._suspects = 0
            self._may_subscribe.set()
            self._send_unsent()

    def _one_suspect_less(self) -> None:
        if self._suspects:
            self._suspects -= 1
            if not self._suspects:
                self._may_subscribe.set()

    def _on_reply(self, client: object, userdata: object, mid: int, codes: list[ReasonCode], properties: Any) -> None:
        reply = self._replies.get(mid)
        if reply is not None and not reply.done():
            reply.set_result(codes)


def _detail(properties: dict[str, Any]) -> str:
    """The broker's own words."""
    return one_line(" ".join(properties[name] for name in ("ReasonString", "ServerReference") if name in properties))
