"""paho's sockets on the asyncio loop: when to read, when to write, when to look at the keepalive.

By paho's own hooks for external loops. Messages and their PUBACKs pass paho by; of what they mean this file knows
nothing.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import paho.mqtt.client as paho

from gateway.mqtt.buffered_socket import BufferedSocket
from gateway.mqtt.packets import Puback, Publish, puback

PACKETS_A_TURN = 64
"""So many packets are read before others have their turn."""
HOUSEKEEPING = 1.0
"""Seconds between two looks at the keepalive, as paho wants it."""


class PahoLoopAdapter:
    """Drives one client. Reading can be paused: the broker keeps the rest, and the keepalive goes on."""

    def __init__(
        self,
        client: paho.Client,
        keepalive: int,
        on_message: Callable[[Publish], None],
        on_confirmed: Callable[[Puback], None],
    ) -> None:
        self._client = client
        self._keepalive = keepalive
        self._on_message = on_message
        self._on_confirmed = on_confirmed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._connecting: asyncio.Future[Any] | None = None
        self._housekeeper: asyncio.TimerHandle | None = None
        self._sock: BufferedSocket | None = None
        self.paused = False
        self._ended = True
        self._flushing = self._writing = False
        self._heard = self._spoke = 0.0
        # paho calls these from the thread that connects, too.
        client.on_socket_open = lambda client, userdata, sock: self._here(self._watch, sock)
        client.on_socket_close = lambda client, userdata, sock: self._here(self._unwatch, sock)
        client.on_socket_register_write = lambda client, userdata, sock: self._here(self._want_write, sock)
        client.on_socket_unregister_write = lambda client, userdata, sock: None

    @property
    def silence(self) -> float:
        """Seconds since the broker said anything."""
        return time.monotonic() - self._heard

    def pause(self) -> None:
        """Stop reading."""
        if not self.paused:
            self.paused = True
            if self._sock is not None:
                self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        """Read again."""
        if self.paused:
            self.paused = False
            if self._sock is not None:
                self._loop.add_reader(self._sock, self._read)
                self._loop.call_soon(self._serve)  # what was read already

    def ack(self, packet_id: int) -> None:
        """Send the PUBACK of a message of this connection."""
        self.send(puback(packet_id))

    def send(self, packet: bytes) -> None:
        """Send a whole packet, with all that this turn of the loop has to say."""
        if self._sock is not None:
            self._sock.send(packet)
            self._want_write(self._sock)

    async def connect(self, host: str, port: int, **options: Any) -> None:
        """Have paho connect, in a thread, since its calls block; one at a time. Raises OSError, ValueError.

        Who cancels this ends the wait and not the thread, and calls `close`: what still comes of it is closed.
        """
        await self.idle()
        self._ended = self.paused = False
        connect = partial(self._client.connect, host, port, self._keepalive, **options)
        self._connecting = self._loop.run_in_executor(None, connect)
        self._connecting.add_done_callback(self._tried)
        await asyncio.shield(self._connecting)

    async def idle(self) -> None:
        """Wait until no thread connects."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])

    def _tried(self, connecting: asyncio.Future[Any]) -> None:
        if self._ended:
            self.close()

    def connected(self) -> None:
        """A new connection stands: it is read, and kept alive."""
        self.paused = False
        self._heard = time.monotonic()
        self._keep_house()

    def twin(self) -> socket.socket:
        """A second handle of the connection, which stays open when paho closes its own."""
        twin = socket.socket(fileno=os.dup(cast("BufferedSocket", self._client.socket()).fileno()))
        twin.setblocking(False)
        return twin

    def close(self) -> None:
        """End the socket, if there still is one, and the one that a thread still opens.

        Here, and not before paho connects anew or when its client is collected: it would close the socket in whatever
        thread that is, and the loop, which goes by numbers, would take the next socket of that number for one that it
        watches already, and never read it.
        """
        self.disconnected()
        self._ended = True
        if self._connecting is not None and not self._connecting.done():
            return
        sock = cast("BufferedSocket | None", self._client.socket())
        if sock is not None:
            sock.discard()
            self._client.connect_async(self._client.host, self._client.port)  # closes the socket, connects nothing

    def disconnected(self) -> None:
        """There is nothing to keep alive."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()

    def _here(self, action: Callable[[Any], None], sock: Any) -> None:
        """On the loop's thread: at once, or handed over by the thread that connects.

        A client that is collected calls this too, in any thread, perhaps when its loop is closed and watches nothing.
        """
        if self._loop.is_closed():
            return
        if threading.get_ident() == self._thread:
            action(sock)
        else:
            with suppress(RuntimeError):  # the loop was closed just now
                self._loop.call_soon_threadsafe(action, sock)

    def _is_current(self, sock: Any) -> bool:
        return self._client.socket() is sock

    def _watch(self, sock: Any) -> None:
        if self._is_current(sock) and not self._ended:
            self._sock = sock
            self._loop.add_reader(sock, self._read)

    def _unwatch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        if sock is self._sock:
            self._sock = None

    def _want_write(self, sock: Any) -> None:
        if not self._flushing and not self._ended:
            self._flushing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Everything that this turn of the loop has to say, in one piece."""
        self._flushing = False
        sock = cast("BufferedSocket | None", self._client.socket())
        if sock is None or self._ended:
            return
        self._client.loop_write()
        self._spoke = time.monotonic()
        try:
            done = sock.flush()
        except OSError:
            return  # the next read tells paho
        if not done:
            self._loop.add_writer(sock, self._write)
            self._writing = True
        elif self._writing:
            self._writing = False
            if sock.fileno() >= 0:
                self._loop.remove_writer(sock)

    def _read(self) -> None:
        """The loop says that something came."""
        if self._sock is not None:
            self._heard = time.monotonic()
            self._sock.fill()
            self._serve()

    def _serve(self) -> None:
        """Packets that are there, but not more than a turn's share."""
        for _ in range(PACKETS_A_TURN):
            sock = self._sock
            if sock is None or self.paused:
                return
            packet = sock.take()
            if isinstance(packet, Publish):
                self._on_message(packet)
            elif isinstance(packet, Puback):
                self._on_confirmed(packet)
            elif packet:
                self._client.loop_read()
            else:
                if sock.pending():
                    self._loop.call_soon(self._read)
                return
        self._loop.call_soon(self._serve)

    def _keep_house(self) -> None:
        self.disconnected()
        self._housekeeper = self._loop.call_later(HOUSEKEEPING, self._keep_house)
        now = time.monotonic()
        if not self.paused and now - self._heard > self._keepalive:
            self._client.loop_misc()  # silence: paho pings, and ends the connection where no answer comes
        elif now - self._spoke > self._keepalive / 2:
            # paho's own ping would end the connection while its answer stands behind messages that are not read. Any
            # packet keeps a connection alive, and unsubscribing from what nobody subscribed to changes nothing.
            self._client.unsubscribe("$keepalive")
