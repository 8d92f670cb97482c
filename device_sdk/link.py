"""A TCP or TLS connection whose every call ends by its deadline. Knows nothing of MQTT.

The socket never blocks: each call tries, and waits in a poller for as long as the deadline allows.
"""

import errno
import socket

from ._compat import POLLIN, POLLOUT, poll, ready, stream, ticks_add, ticks_diff, ticks_ms


class Link:
    """begin(ms) sets the deadline of the calls that follow; past it they raise OSError(ETIMEDOUT)."""

    def __init__(self):
        self.wrote = 0  # ticks of the last write
        self.handshake = False  # a TLS handshake may still be going on, inside of reads and writes
        self._poller = poll()
        self._sock = self._io = None
        self._until = 0

    def begin(self, ms):
        self._until = ticks_add(ticks_ms(), ms)

    def left(self):
        """Milliseconds until the deadline; OSError(ETIMEDOUT) where there are none."""
        left = ticks_diff(self._until, ticks_ms())
        if left <= 0:
            raise OSError(errno.ETIMEDOUT, "deadline")
        return left

    def _wait(self, flag):
        self._poller.modify(self._sock, flag)
        while not ready(self._poller, self.left()):
            pass

    def open(self, address, tls, host):
        """address: an item of getaddrinfo's list. tls: an SSLContext, or None."""
        sock = self._sock = socket.socket(address[0], socket.SOCK_STREAM)
        sock.setblocking(False)
        self._poller.register(sock, POLLOUT)
        try:
            sock.connect(address[-1])
        except OSError as error:
            if error.args[0] != errno.EINPROGRESS:
                raise
            self._wait(POLLOUT)
        if tls:
            self._poller.unregister(sock)
            self._sock = None
            try:
                self._sock = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            finally:
                if not self._sock:
                    sock.close()
            self._poller.register(self._sock, POLLOUT)
        self.handshake = bool(tls)
        self._io = stream(self._sock)

    def close(self):
        if self._sock:
            self._poller.unregister(self._sock)
            self._sock.close()
            self._sock = self._io = None

    def lost(self):
        raise OSError(errno.ECONNRESET, "connection lost")

    def write(self, buf, at, n):
        """Writes buf[at:at+n]."""
        if not self._io:
            self.lost()
        while True:
            done = self._io.write(buf, at, n)
            if done == n:
                self.wrote = ticks_ms()
                return
            if done:
                at += done
                n -= done
            self._wait(POLLIN if self.handshake else POLLOUT)  # a handshake waits for the other side

    def read(self, buf, n):
        """Reads exactly n bytes to the beginning of buf."""
        at = 0
        while n:
            done = self._io.readinto(memoryview(buf)[at:] if at else buf, n)
            if done is None:
                self._wait(POLLIN)
            elif not done:
                self.lost()
            else:
                at += done
                n -= done

    def first(self, buf, ms):
        """Reads one byte if one comes within ms. Returns whether it did."""
        if not self._io:
            self.lost()
        n = self._io.readinto(buf, 1)  # before waiting: TLS may hold bytes that the poller does not see
        if n is None:
            self._poller.modify(self._sock, POLLIN)
            if ready(self._poller, ms):
                n = self._io.readinto(buf, 1)
        if n == 0:
            self.lost()
        return n is not None
