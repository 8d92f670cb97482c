"""A TCP proxy between an MQTT client and its broker, which cuts, slows and stalls what passes.

Runs on an asyncio loop. It must never change a byte.
"""

import asyncio
from contextlib import suppress

HOST = "127.0.0.1"
PIECE = 1024


class Proxy:
    """`rate`: bytes a second of each direction of each connection; None: as fast as it goes."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.rate: float | None = None
        self.cuts = 0
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._came, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Nobody listens any more; connections end."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for pump in self._pumps:
            pump.cancel()

    def cut(self) -> None:
        """End every connection, wherever in a packet it is."""
        for pair in self._pairs:
            self.cuts += 1
            for writer in pair:
                writer.transport.abort()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = writer, back
        self._pairs.add(pair)
        pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
        self._pumps.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in pair:
            each.transport.abort()
        await asyncio.wait(pumps)
        self._pumps.difference_update(pumps)
        self._pairs.discard(pair)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE if self.rate else 65536):
                writer.write(piece)
                await writer.drain()
                if self.rate:
                    await asyncio.sleep(len(piece) / self.rate)
