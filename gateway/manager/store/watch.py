"""Ends connections whose transaction takes too long: where a server hangs, its own limits end nothing.

It must never end a connection that nobody uses.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Any
from weakref import WeakSet

INTERVAL = 0.25
"""Seconds between two looks, while there is a transaction."""


class Watch:
    """Of the driver's connections of one engine. Threads may call it; a thread of its own looks at the clock."""

    def __init__(self) -> None:
        self._deadlines: dict[Any, float] = {}
        self._ended: WeakSet[Any] = WeakSet()
        self._busy = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def begin(self, connection: Any, seconds: float) -> None:
        """Its transaction may take so long."""
        self._deadlines[connection] = time.monotonic() + seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()
        if not self._busy.is_set():
            self._busy.set()

    def end(self, connection: Any) -> None:
        """None: it was ended, or lost."""
        if connection is not None:
            self._deadlines.pop(connection, None)

    def has_ended(self, connection: Any) -> bool:
        """Whether that was done here."""
        return connection in self._ended

    def close(self) -> None:
        self._closed = True
        self._busy.set()

    def _run(self) -> None:
        while not self._closed:
            self._busy.wait()
            now = time.monotonic()
            for connection, deadline in list(self._deadlines.items()):
                if now >= deadline and self._deadlines.pop(connection, None) is not None:
                    self._ended.add(connection)
                    _shut_down(connection)
            self._busy.clear()
            if self._deadlines:
                self._busy.set()
                time.sleep(INTERVAL)


def _shut_down(connection: Any) -> None:
    """Whoever waits for an answer reads its end."""
    with suppress(Exception), socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
