"""CPython's side of `_compat.py`: the calls of MicroPython that the other modules use, in CPython's words.

Never loaded on a board. Must hold no logic of the protocol.
"""

import os
import ssl
import time
from binascii import crc32  # noqa: F401
from select import POLLIN, POLLOUT, poll  # noqa: F401

rename = os.replace


def ticks_ms():
    return time.monotonic_ns() // 1000000


def ticks_add(ticks, ms):
    return ticks + ms


def ticks_diff(end, start):
    return end - start


def sleep_ms(ms):
    time.sleep(ms / 1000)


def sync(file):
    file.flush()
    os.fsync(file.fileno())


def random16():
    return int.from_bytes(os.urandom(2), "big")


def unix_time():
    return int(time.time())


def ready(poller, ms):
    return bool(poller.poll(ms))


class Stream:
    """A non-blocking socket with the methods of a MicroPython stream: None where it would block."""

    def __init__(self, sock):
        self._sock = sock

    def write(self, buf, offset, n):
        try:
            return self._sock.send(memoryview(buf)[offset : offset + n])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def readinto(self, buf, n):
        try:
            return self._sock.recv_into(buf, n)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None


def stream(sock):
    return Stream(sock)
