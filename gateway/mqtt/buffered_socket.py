"""A socket that is read and written once an iteration of the loop, not three times a message as paho does.

paho wraps its socket by whatever TLS context it has, and accepts BufferingContext as one. paho receives all packets but
PUBLISH and PUBACK: those must never reach it.
"""

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from gateway.mqtt import packets
from gateway.mqtt.packets import Puback, Publish, RejectedTopic

READ_SIZE = 65_536
"""Bytes that are read at once."""


class BufferedSocket:
    """The part of a socket that paho uses. `flush` sends what `send` took; `recv` returns what `next_packet` left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = b""
        self._at = 0
        self._paho_end = 0
        """End of the packet that paho may receive."""
        self._end: OSError | bytes | None = None
        """What paho receives after all bytes: an error, or b"" for an orderly end."""
        self._out = bytearray()

    def receive(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end = error
        else:
            self._end = None if data else b""
            self._in, self._at, self._paho_end = self._in[self._at :] + data, 0, 0

    def next_packet(self) -> Publish | Puback | bool:
        """The next packet. True: paho can receive it; False: no whole packet has arrived."""
        size = len(self._in)
        try:
            end = packets.packet_end(self._in, self._at) if self._at < size else None
        except ValueError:
            end = size  # paho ends the connection
        if end is None or end > size:
            return self._end is not None
        packet = packets.parse(self._in, self._at, end)
        if packet is None:
            self._paho_end = end
            return True
        self._at = end
        return packet

    def skip_rejected(self, topics: Mapping[bytes, RejectedTopic], now: float, pubacks: bytearray) -> bool:
        """As packets.skip_rejected, of what was received; whether any was skipped. paho's packet must be received."""
        start = self._at
        self._at = packets.skip_rejected(self._in, start, topics, now, pubacks)
        return self._at > start

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of paho's packet. Raises BlockingIOError where there are none, OSError at the end."""
        if self._at < self._paho_end:
            start, self._at = self._at, min(self._at + size, self._paho_end)
            return self._in[start : self._at]
        if self._end is None:
            raise BlockingIOError
        if isinstance(self._end, OSError):
            raise self._end
        return self._end

    def pending(self) -> int:
        """Bytes that TLS has decrypted already, for which the loop does not report the socket as readable."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

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

    def discard(self) -> None:
        """Drop what `flush` has not sent."""
        self._out.clear()

    def close(self) -> None:
        """Try to send the rest, perhaps a DISCONNECT, and close."""
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
        """Raises OSError, after closing the socket: paho does not close it then."""
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
            except BaseException:
                self._sock.close()
                raise

    def getpeercert(self) -> Any:
        return self._sock.getpeercert() if isinstance(self._sock, ssl.SSLSocket) else None


class BufferingContext:
    """Used by paho in place of an ssl.SSLContext. `tls` None: no TLS."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self.check_hostname = tls.check_hostname if tls else True
        """True: paho checks no host name itself."""

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
