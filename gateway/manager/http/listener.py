"""Listens, admits connections, and looks at them: one that has been in a state for too long is ended.

Time is not read for a request. Once in `Limits.interval` each connection is asked for its state. Where the event loop
stood still, that time is no client's: what came meanwhile was not read.
"""

import asyncio
from collections.abc import Callable

import structlog

from gateway.manager.http.connection import HttpConnection
from gateway.manager.http.limits import MAX_HEAD, Limits
from gateway.manager.http.requests import Handler

BACKLOG = 1024
CLOSE_TIMEOUT = 5.0
"""Seconds for requests in flight, when the server ends."""
BUSY_LOG_INTERVAL = 60.0
LEFT_LOG_INTERVAL = 1.0

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager")


class ManagerServer:
    """Listens from `start` to `close`.

    `on_refused` is called with the limit that a client met: connections, head, bodies or time.
    """

    def __init__(
        self, handler: Handler, limits: Limits, on_refused: Callable[[str], None] = lambda limit: None
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.on_refused = on_refused
        self.connections: set[HttpConnection] = set()
        self.held = 0
        """Bytes of unfinished bodies."""
        self.closing = False
        self.buffer = memoryview(bytearray(MAX_HEAD))
        """For each read of each connection, which takes its bytes at once."""
        self._empty = asyncio.Event()
        self._next_busy_log = self._next_left_log = float("-inf")
        self._left = 0
        self._server: asyncio.Server | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looked = self._served = 0.0

    async def start(self, host: str, port: int) -> int:
        """The port; 0 takes a free one. Raises OSError, or UnicodeError if `host` cannot be a host name."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HttpConnection(self), host, port, backlog=BACKLOG)
        self._looked = loop.time()
        self._look = loop.call_later(self.limits.interval, self._look_at_all)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends idle connections at once, those with a request once it is answered, all after CLOSE_TIMEOUT."""
        self.closing = True
        if self._server is None or self._look is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.finish()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while self.connections:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
        self._look.cancel()
        await self._server.wait_closed()

    def admit(self, connection: HttpConnection) -> bool:
        """False: there are as many as may be. The caller then ends it; it is not one of `connections`."""
        if len(self.connections) < self.limits.connections:
            self.connections.add(connection)
            return True
        self.on_refused("connections")
        now = asyncio.get_running_loop().time()
        if now >= self._next_busy_log:
            self._next_busy_log = now + BUSY_LOG_INTERVAL
            event = "too many connections: further ones get 503; look who holds them, or raise --max-connections"
            LOG.warning(event, max_connections=self.limits.connections)
        return False

    def connection_count(self) -> int:
        return len(self.connections)

    def discard(self, connection: HttpConnection) -> None:
        self.connections.discard(connection)
        self._empty.set()

    def on_left(self, target: str) -> None:
        self._left += 1
        now = asyncio.get_running_loop().time()
        if now >= self._next_left_log and not self.closing:
            event = "a client left before it had the whole file: nothing follows, it may ask again"
            LOG.info(event, path=target.partition("?")[0][:200], clients=self._left)
            self._left, self._next_left_log = 0, now + LEFT_LOG_INTERVAL

    def _look_at_all(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self.limits.interval, self._look_at_all)
        now = loop.time()
        self._served += min(now - self._looked, 2 * self.limits.interval)
        self._looked = now
        for connection in list(self.connections):
            connection.expire(self._served)
