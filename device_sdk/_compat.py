"""The one place where the runtimes differ: here MicroPython's side, in `_host.py` CPython's side of the same names.

Must hold no logic of the protocol. A board never loads `_host.py` and need not carry it.
"""

import sys

if sys.implementation.name == "micropython":
    import os
    import time
    from binascii import crc32
    from select import POLLIN, POLLOUT, poll
    from time import sleep_ms, ticks_add, ticks_diff, ticks_ms

    rename = os.rename  # one atomic step on littlefs; on FAT the old file goes first, so a reader tries both names

    def stream(sock):
        """A socket is a stream already: write(buf, offset, n) and readinto(buf, n), None where it would block."""
        return sock

    def ready(poller, ms):
        for _ in poller.ipoll(ms):  # allocates nothing, unlike poll()
            return True
        return False

    def sync(file):
        file.flush()

    def random16():
        return int.from_bytes(os.urandom(2), "big")

    def unix_time():
        """Unix seconds, or None: a clock that says 2024 or earlier has never been set (some ports count from 2000)."""
        year = time.gmtime()[0]
        if year < 2025:
            return None
        return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)

else:
    from ._host import (  # noqa: F401
        POLLIN,
        POLLOUT,
        crc32,
        poll,
        random16,
        ready,
        rename,
        sleep_ms,
        stream,
        sync,
        ticks_add,
        ticks_diff,
        ticks_ms,
        unix_time,
    )
