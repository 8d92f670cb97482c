"""MicroPython's functions of select, socket and time that CPython lacks, with the same names; TLS for CPython.

A board never loads it. It must hold no logic of the protocol.
"""

import os
import select as _select
import socket as _socket
import ssl
import sys
import time as _time
from errno import EINPROGRESS


class Stream:
    """A socket with the methods of a MicroPython stream, which return None instead of blocking."""

    def __init__(self, sock):
        self.sock = sock
        self.wants = None  # what a poller must wait for, whatever it is asked to: TLS may have to read before it writes

    def connect(self, address):
        code = self.sock.connect_ex(address)
        if code not in (0, EINPROGRESS):
            raise OSError(code, os.strerror(code))

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()

    def write(self, buf, offset, n):
        return self._do(self.sock.send, memoryview(buf)[offset : offset + n])

    def readinto(self, buf, n):
        return self._do(self.sock.recv_into, buf, n)

    def _do(self, call, *arguments):
        self.wants = None
        try:
            return call(*arguments)
        except BlockingIOError:
            pass
        except ssl.SSLWantReadError:
            self.wants = _select.POLLIN
        except ssl.SSLWantWriteError:
            self.wants = _select.POLLOUT
        return None


def tls(context):
    """For `Mqtt` and `Port`: a function that wraps a connection with this ssl.SSLContext. The handshake comes later."""

    def wrap(stream, host):
        stream.sock = context.wrap_socket(stream.sock, server_hostname=host, do_handshake_on_connect=False)
        return stream

    return wrap


class socket:  # noqa: N801
    @staticmethod
    def getaddrinfo(host, port, family, type):
        return _socket.getaddrinfo(host, port, family, type)

    @staticmethod
    def socket(family):
        return Stream(_socket.socket(family, _socket.SOCK_STREAM))


class select:  # noqa: N801
    class poll:  # noqa: N801
        def __init__(self):
            self._poll = _select.poll()

        def register(self, stream, flag):
            self._poll.register(stream.sock, flag and (stream.wants or flag))

        def ipoll(self, ms):
            return self._poll.poll(ms)


class time:  # noqa: N801
    gmtime = _time.gmtime
    time = _time.time

    @staticmethod
    def monotonic():
        """Seconds, those of a suspend too where the system counts them."""
        return _time.clock_gettime(_time.CLOCK_BOOTTIME) if hasattr(_time, "CLOCK_BOOTTIME") else _time.monotonic()

    @staticmethod
    def ticks_ms():
        return int(time.monotonic() * 1000)

    @staticmethod
    def ticks_add(ticks, ms):
        return ticks + ms

    @staticmethod
    def ticks_diff(end, start):
        return end - start

    @staticmethod
    def sleep_ms(ms):
        _time.sleep(ms / 1000)


def run(self):
    """`Port.run` of CPython. Ctrl-C closes the connection, and ends the program with the exit status 130."""
    try:
        while True:
            self.step(1000)
    except KeyboardInterrupt:
        self.client.close()
        sys.exit(130)
