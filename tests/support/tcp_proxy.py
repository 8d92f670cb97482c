"""A TCP proxy between a client and its server, which cuts, slows and pauses what passes.

It runs on an asyncio loop. It must never change a byte.
"""

import asyncio
from contextlib import suppress

from gateway.demo.brokers.address import free_ports
from tests.support.loop_thread import LoopThread

HOST = "127.0.0.1"
PIECE = 1024


class TcpProxy:
    """On a port of its own, which it keeps when it is opened again. `rate`: bytes per second of each direction of each
    connection; None: no limit. `cuts`: how many connections `cut` ended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._copies: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.rate: float | None = None
        self.cuts = 0
        self.port = free_ports(1, HOST)[0]

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, HOST, self.port)

    async def close(self) -> None:
        """Nobody listens any more; connections end."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for copy in self._copies:
            copy.cancel()

    def cut(self) -> None:
        """End every connection, wherever in a packet it is."""
        for pair in self._pairs:
            self.cuts += 1
            for writer in pair:
                writer.transport.abort()

    async def to_server(self, piece: bytes, server: asyncio.StreamWriter) -> None:
        """Pass on what the client sent."""
        await self._pass_on(piece, server)

    async def to_client(self, piece: bytes, client: asyncio.StreamWriter) -> None:
        """Pass on what the server sent."""
        await self._pass_on(piece, client)

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(piece)
        await writer.drain()
        if self.rate:
            await asyncio.sleep(len(piece) / self.rate)

    async def _connected(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection(*self._target)
        except OSError:
            client.transport.abort()
            return
        pair = client, server
        self._pairs.add(pair)
        copies = [
            asyncio.create_task(self._copy_to_server(from_client, server)),
            asyncio.create_task(self._copy_to_client(from_server, client)),
        ]
        self._copies.update(copies)
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for each in pair:
            each.transport.abort()
        await asyncio.wait(copies)
        self._copies.difference_update(copies)
        self._pairs.discard(pair)

    async def _copy_to_server(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await client.read(self._size):
                await self.to_server(piece, server)

    async def _copy_to_client(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await server.read(self._size):
                await self.to_client(piece, client)

    @property
    def _size(self) -> int:
        return PIECE if self.rate else 65_536


class TcpProxyThread(LoopThread):
    """A TcpProxy beside a test that is not async: open, in its context. What is changed later runs on its loop."""

    def __init__(self, host: str, port: int, rate: float | None = None) -> None:
        super().__init__("TCP proxy")
        self.proxy = TcpProxy(host, port)
        self.proxy.rate = rate

    async def opened(self) -> None:
        await self.proxy.open()

    async def closed(self) -> None:
        await self.proxy.close()
