"""Browsers that look at pages of a console: connections that take what is told to them, and throw it away."""

import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, urlsplit


@contextmanager
def looking(console: str, pages: Sequence[str], viewers: int) -> Iterator[list[int]]:
    """So many viewers, of these pages in turn; how many bytes each was sent. Raises SystemExit where one is refused."""
    parts = urlsplit(console)
    sockets = [socket.create_connection((parts.hostname, parts.port)) for _ in range(viewers)]
    taken = [0] * viewers
    with selectors.DefaultSelector() as waiting:
        for number, each in enumerate(sockets):
            page = quote(pages[number % len(pages)], safe="")
            each.sendall(f"GET /live?page={page} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            if not each.recv(65_536).startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"{console} refused the viewer {number + 1}")
            waiting.register(each, selectors.EVENT_READ, number)
        ends = threading.Event()
        thread = threading.Thread(target=_take, args=(waiting, taken, ends))
        thread.start()
        try:
            yield taken
        finally:
            ends.set()
            thread.join()
            for each in sockets:
                each.close()


def _take(waiting: selectors.BaseSelector, taken: list[int], ends: threading.Event) -> None:
    while not ends.is_set():
        for key, _ in waiting.select(0.1):
            assert isinstance(key.fileobj, socket.socket)
            part = key.fileobj.recv(65_536)
            taken[key.data] += len(part)
            if not part:
                waiting.unregister(key.fileobj)
