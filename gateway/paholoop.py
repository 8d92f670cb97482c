"""paho's sockets on the asyncio loop: when to read, when to write, when to look at the keepalive.

By paho's own hooks for external loops. Knows no messages.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import paho.mqtt.client as paho

from gateway.buffered import BufferedSocket

PACKETS_A_TURN = 64
"""So many packets are read before others have their turn."""
HOUSEKEEPING = 1.0
"""Seconds between two looks at the keepalive, as paho wants it."""


class PahoLoop:
    """Drives one client. Reading can be paused: the broker keeps the rest, and the keepalive goes on."""

    def __init__(self, client: paho.Client, keepalive: int) -> None:
        self._client = client
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._housekeeper: asyncio.TimerHandle | None = None
        self._sock: Any = None
        self._paused = False
        self._flushing = False
        self._spoke = 0.0
        # paho calls these from the thread that connects, too.
        client.on_socket_open = lambda client, userdata, sock: self._here(self._watch, sock)
        client.on_socket_close = lambda client, userdata, sock: self._here(self._unwatch, sock)
        client.on_socket_register_write = lambda client, userdata, sock: self._here(self._want_write, sock)
        client.on_socket_unregister_write = lambda client, userdata, sock: None

    def pause(self) -> None:
        """Stop reading."""
        if not self._paused:
            self._paused = True
            if self._sock is not None:
                self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._sock is not None:
                self._loop.add_reader(self._sock, self._read)
                self._loop.call_soon(self._read)  # for what is buffered

    def connected(self) -> None:
        """A new connection stands: it is read, and kept alive."""
        self._paused = False
        self._keep_house()

    def twin(self) -> socket.socket:
        """A second handle of the connection, which stays open when paho closes its own."""
        twin = socket.socket(fileno=os.dup(self._sock.fileno()))
        twin.setblocking(False)
        return twin

    def close(self) -> None:
        """End the socket, if there still is one."""
        self.disconnected()
        sock = self._client.socket()
        if sock is not None:
            self._unwatch(sock)
            sock.close()

    def disconnected(self) -> None:
        """There is nothing to keep alive."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()

    def _here(self, action: Callable[[Any], None], sock: Any) -> None:
        """On the loop's thread: at once, or handed over by the thread that connects."""
        if threading.get_ident() == self._thread:
            action(sock)
        else:
            self._loop.call_soon_threadsafe(action, sock)

    def _is_current(self, sock: Any) -> bool:
        return self._client.socket() is sock

    def _watch(self, sock: Any) -> None:
        if self._is_current(sock):
            self._sock = sock
            self._loop.add_reader(sock, self._read)

    def _unwatch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        if sock is self._sock:
            self._sock = None

    def _want_write(self, sock: Any) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Everything that this turn of the loop has to say, in one piece."""
        self._flushing = False
        sock = cast("BufferedSocket | None", self._client.socket())
        if sock is None:
            return
        self._client.loop_write()
        try:
            done = sock.flush()
        except OSError:
            return  # the next read tells paho
        if not done:
            self._loop.add_writer(sock, self._write)
        elif sock.fileno() >= 0:
            self._loop.remove_writer(sock)

    def _read(self) -> None:
        """All that is at hand, but not more than a turn's share."""
        for _ in range(PACKETS_A_TURN):
            self._client.loop_read()
            if self._paused or self._sock is None or not self._sock.pending():
                return
        self._loop.call_soon(self._read)

    def _keep_house(self) -> None:
        self.disconnected()
        self._housekeeper = self._loop.call_later(HOUSEKEEPING, self._keep_house)
        if not self._paused:
            self._client.loop_misc()
        elif time.monotonic() - self._spoke > self._keepalive / 2:
            # paho's own ping would end the connection, since its answer is not read. Any packet keeps a connection
            # alive, and unsubscribing from what nobody subscribed to changes nothing.
            self._spoke = time.monotonic()
            self._client.unsubscribe("$keepalive")
