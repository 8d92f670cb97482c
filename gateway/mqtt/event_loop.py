"""Runs a paho client on the asyncio loop by paho's hooks for external loops: reads, writes and the keepalive.

PUBLISH and PUBACK bypass paho. It must never block the loop: paho's part of connecting, TLS, runs in a thread.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

import paho.mqtt.client as paho

from gateway.addresses import attempt_delay
from gateway.clock import monotonic
from gateway.mqtt.buffered_socket import BufferedSocket
from gateway.mqtt.packets import Puback, Publish, RejectedTopic

PACKETS_PER_ITERATION = 64
"""Packets that are processed before the loop runs other callbacks."""
KEEPALIVE_CHECK = 1.0
"""Seconds between two checks of the keepalive, as paho needs it, at most; a quarter of a shorter keepalive."""


class PahoClient(paho.Client):
    """Uses a socket that is connected already. paho itself waits for each address of a name as long as for all."""

    tcp_socket: socket.socket | None = None

    def _create_socket_connection(self) -> socket.socket:
        sock, self.tcp_socket = self.tcp_socket, None
        return sock or super()._create_socket_connection()


class PahoLoopAdapter:
    """Runs one client. Reading can pause: the broker keeps the messages, and the keepalive continues.

    `rejected`: topics whose messages are not parsed; `on_rejected` gets the PUBACKs that are due for some of them.
    """

    def __init__(
        self,
        client: PahoClient,
        keepalive: int,
        on_message: Callable[[Publish], None],
        on_puback: Callable[[Puback], None],
        rejected: Mapping[bytes, RejectedTopic],
        on_rejected: Callable[[bytearray], None],
    ) -> None:
        self._client = client
        self._keepalive = self._keepalive_in_use = keepalive
        self._on_message = on_message
        self._on_puback = on_puback
        self._rejected, self._on_rejected = rejected, on_rejected
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._connecting: asyncio.Future[Any] | None = None
        self._keepalive_timer: asyncio.TimerHandle | None = None
        self._sock: BufferedSocket | None = None
        self.paused = False
        self.on_flushed: Callable[[], None] | None = None
        """Called each time when nothing is left to send."""
        self._closed = True
        self._flush_scheduled = self._writer_added = False
        self._last_received = self._last_sent = 0.0
        # paho calls these from the thread that connects, too.
        client.on_socket_open = lambda client, userdata, sock: self._on_loop(self._add_reader, sock)
        client.on_socket_close = lambda client, userdata, sock: self._on_loop(self._remove, sock)
        client.on_socket_register_write = lambda client, userdata, sock: self._on_loop(self._schedule_flush, sock)
        client.on_socket_unregister_write = lambda client, userdata, sock: None

    @property
    def idle_seconds(self) -> float:
        """Seconds since the broker sent anything."""
        return monotonic() - self._last_received

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            if self._sock is not None:
                self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            if self._sock is not None:
                self._loop.add_reader(self._sock, self._read)
                self._loop.call_soon(self._process_packets)  # what was read already

    def send(self, packet: bytes | bytearray) -> None:
        """Send whole packets, together with all others of this iteration of the loop."""
        if self._sock is not None:
            self._sock.send(packet)
            if not self._flush_scheduled:
                self._schedule_flush()

    async def connect(self, host: str, port: int, **options: Any) -> None:
        """Connect by TCP to the address that answers first, then have paho connect, in a thread, one at a time. Raises
        OSError, ValueError.

        Cancelling it does not end the thread: `close` must follow, and closes a connection that opens later.
        """
        await self.wait_connect_thread()
        self._closed = self.paused = False
        self._client.tcp_socket = await self._open_socket(host, port)
        connect = partial(self._client.connect, host, port, self._keepalive, **options)
        self._connecting = self._loop.run_in_executor(None, connect)
        self._connecting.add_done_callback(self._on_connect_done)
        await asyncio.shield(self._connecting)

    async def _open_socket(self, host: str, port: int) -> socket.socket:
        transport, _ = await self._loop.create_connection(
            asyncio.Protocol, host, port, happy_eyeballs_delay=attempt_delay(host)
        )
        sock: socket.socket = transport.get_extra_info("socket").dup()
        transport.abort()  # closes its own handle alone
        sock.settimeout(self._client.connect_timeout)
        return sock

    async def wait_connect_thread(self) -> None:
        """Wait until no thread connects."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])

    def _on_connect_done(self, connecting: asyncio.Future[Any]) -> None:
        if self._closed:
            self.close()

    def start_keepalive(self, keepalive: int) -> None:
        """CONNACK was received. `keepalive`: the one in use, in s."""
        self.paused = False
        # paho has taken the broker's from CONNACK: it may be above ours, or 0, and a dead broker would not be noticed.
        self._client._keepalive = self._keepalive_in_use = keepalive
        self._last_received = monotonic()
        self._keepalive_tick()

    def stop_keepalive(self) -> None:
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()

    def dup_socket(self) -> socket.socket:
        """A second handle of the connection, which stays open when paho closes its own."""
        duplicate = socket.socket(fileno=os.dup(cast("BufferedSocket", self._client.socket()).fileno()))
        duplicate.setblocking(False)
        return duplicate

    def close(self) -> None:
        """Close the socket, if there is one, and the one that a thread still opens.

        Otherwise paho would close it when it connects next or when its client is collected, in any thread. The loop,
        which knows sockets by their numbers, would then take the next socket of that number for one that it watches
        already, and never read it.
        """
        self.stop_keepalive()
        self._closed = True
        if self._connecting is not None and not self._connecting.done():
            return
        sock = cast("BufferedSocket | None", self._client.socket())
        if sock is not None:
            sock.discard()
            self._client.connect_async(self._client.host, self._client.port)  # closes the socket, connects nothing

    def _on_loop(self, action: Callable[[Any], None], sock: Any) -> None:
        """Run `action` on the loop's thread: at once, or scheduled by the thread that connects.

        A client that is collected calls this too, in any thread, perhaps after its loop was closed.
        """
        if self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            action(sock)
        else:
            with suppress(RuntimeError):  # the loop was closed just now
                self._loop.call_soon_threadsafe(action, sock)

    def _add_reader(self, sock: Any) -> None:
        if self._client.socket() is sock and not self._closed:
            self._sock = cast("BufferedSocket", sock)
            self._loop.add_reader(self._sock, self._read)

    def _remove(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        if sock is self._sock:
            self._sock = None

    def _schedule_flush(self, sock: object = None) -> None:
        if not self._flush_scheduled and not self._closed:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send all packets of this iteration of the loop at once."""
        self._flush_scheduled = False
        sock = cast("BufferedSocket | None", self._client.socket())
        if sock is None or self._closed:
            return
        self._client.loop_write()
        self._last_sent = monotonic()
        try:
            done = sock.flush()
        except OSError:
            return  # paho learns of it by its next read
        if not done:
            self._loop.add_writer(sock, self._flush)
            self._writer_added = True
        else:
            if self._writer_added:
                self._writer_added = False
                if sock.fileno() >= 0:
                    self._loop.remove_writer(sock)
            if self.on_flushed is not None:
                self.on_flushed()

    def _read(self) -> None:
        if self._sock is not None:
            self._last_received = monotonic()
            self._sock.receive()
            self._process_packets()

    def _process_packets(self) -> None:
        for _ in range(PACKETS_PER_ITERATION):
            sock = self._sock
            if sock is None or self.paused:
                return
            if self._rejected:
                self._skip_rejected(sock)
            packet = sock.next_packet()
            if isinstance(packet, Publish):
                self._on_message(packet)
            elif isinstance(packet, Puback):
                self._on_puback(packet)
            elif packet:
                self._client.loop_read()
            else:
                if sock.pending():
                    self._loop.call_soon(self._read)
                return
        self._loop.call_soon(self._process_packets)

    def _skip_rejected(self, sock: BufferedSocket) -> None:
        pubacks = bytearray()
        if sock.skip_rejected(self._rejected, self._last_received, pubacks):
            self._on_rejected(pubacks)

    def _keepalive_tick(self) -> None:
        self.stop_keepalive()
        keepalive = self._keepalive_in_use
        self._keepalive_timer = self._loop.call_later(min(KEEPALIVE_CHECK, keepalive / 4), self._keepalive_tick)
        now = monotonic()
        if not self.paused and now - self._last_received > keepalive:
            self._client.loop_misc()  # paho pings, and ends the connection where no answer comes
        elif now - self._last_sent > keepalive / 2:
            # paho's own ping would end the connection while its answer waits behind messages that are not read. Any
            # packet keeps a connection alive, and unsubscribing from a filter without subscription changes nothing.
            self._client.unsubscribe("$keepalive")
