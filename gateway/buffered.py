"""A socket that reads and writes once a turn of the loop, not three times a message as paho does.

paho takes it by its public door: it wraps its socket by whatever TLS context it is given, and this one may do without.
"""

import socket
import ssl
from typing import Any

READ = 65_536
"""Bytes that are read at once."""


class BufferedSocket:
    """What paho uses of a socket. What was sent leaves with `flush`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = b""
        self._at = 0
        self._out = bytearray()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes. Raises BlockingIOError or ssl.SSLWantReadError where there are none."""
        if self._at >= len(self._in):
            self._in, self._at = self._sock.recv(READ), 0
        start = self._at
        self._at = start + size
        return self._in[start : start + size]

    def pending(self) -> int:
        """Bytes that were read and not yet asked for."""
        at_hand = max(0, len(self._in) - self._at)
        return at_hand or (self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0)

    def send(self, data: bytes | bytearray) -> int:
        """Takes everything; `flush` sends it."""
        self._out += data
        return len(data)

    def flush(self) -> bool:
        """Send what can be sent now; True where nothing is left. Raises OSError."""
        while self._out:
            try:
                del self._out[: self._sock.send(self._out)]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
        return True

    def close(self) -> None:
        """The last packet, a DISCONNECT perhaps, leaves if it can."""
        try:
            self.flush()
        except OSError:
            pass
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def do_handshake(self) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.do_handshake()

    def getpeercert(self) -> Any:
        return self._sock.getpeercert() if isinstance(self._sock, ssl.SSLSocket) else None


class BufferingContext:
    """Stands where an ssl.SSLContext does. `tls` None: the bytes stay as they are."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self.check_hostname = tls.check_hostname if tls else True
        """True tells paho that nothing is left to check."""

    def wrap_socket(
        self, sock: socket.socket, server_hostname: str | None = None, do_handshake_on_connect: bool = False
    ) -> BufferedSocket:
        if self._tls is None:
            return BufferedSocket(sock)
        return BufferedSocket(
            self._tls.wrap_socket(
                sock, server_hostname=server_hostname, do_handshake_on_connect=do_handshake_on_connect
            )
        )
