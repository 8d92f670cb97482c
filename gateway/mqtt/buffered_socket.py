"""A socket that is read and written once a turn of the loop, not three times a message as paho does.

paho takes it by its public door: it wraps its socket by whatever TLS context it is given, and this one may do without.
Of what comes in, paho is lent the packets that are its to read; PUBLISHes and PUBACKs never reach it.
"""

import socket
import ssl
from typing import Any

from gateway.mqtt import packets
from gateway.mqtt.packets import Puback, Publish

READ = 65_536
"""Bytes that are read at once."""


class BufferedSocket:
    """What paho uses of a socket. What was sent leaves with `flush`; what may be received was lent by `take`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in = b""
        self._at = 0
        self._lent = 0
        self._end: OSError | bytes | None = None  # what paho shall hear once all is read: an error, or an orderly end
        self._out = bytearray()

    # What comes in

    def fill(self) -> None:
        """Read what is there."""
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end = error
        else:
            self._end = None if data else b""
            self._in, self._at, self._lent = self._in[self._at :] + data, 0, 0

    def take(self) -> Publish | Puback | bool:
        """The next packet, if it is one of these; True: paho may receive something; False: nothing whole came yet."""
        try:
            end = packets.end_of(self._in, self._at)
        except ValueError:
            end = len(self._in)  # paho ends the connection
        if end is None or end > len(self._in):
            return self._end is not None
        message = packets.read(self._in, self._at, end)
        if message is None:
            self._lent = end
            return True
        self._at = end
        return message

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of what was lent. Raises BlockingIOError where there are none, OSError at the end."""
        if self._at < self._lent:
            start, self._at = self._at, min(self._at + size, self._lent)
            return self._in[start : self._at]
        if self._end is None:
            raise BlockingIOError
        if isinstance(self._end, OSError):
            raise self._end
        return self._end

    def pending(self) -> int:
        """Bytes that TLS has decrypted already, of which the loop hears nothing."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    # What goes out

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
        """What was sent and has not left need not leave."""
        self._out.clear()

    def close(self) -> None:
        """The last packet, a DISCONNECT perhaps, leaves if it can."""
        try:
            self.flush()
        except OSError:
            pass
        self._sock.close()

    # The rest is the socket's own

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def do_handshake(self) -> None:
        """Raises OSError, and has closed the socket then: paho does not."""
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
            except BaseException:
                self._sock.close()
                raise

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
