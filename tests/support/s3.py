"""An S3 that nobody here wrote (moto's server), and a gate in front of it that counts, holds and cuts.

It must never change a byte.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import DEADLINE_S, Arrivals

HOST = "127.0.0.1"
REGION = "eu-central-1"


class Shelf:
    """One moto server, and buckets on it. Leaving the context ends it."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(HOST, 0, verbose=False)

    def __enter__(self) -> Self:
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()
        self._client = boto3.client(
            "s3",
            endpoint_url=f"http://{self.host}:{self.port}",
            region_name=REGION,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(s3={"addressing_style": "path"}),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        self._server.stop()

    def make(self, bucket: str) -> None:
        self._client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def remove(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)

    def forbid(self, bucket: str) -> None:
        """Nobody may read there."""
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        self._client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))

    def allow(self, bucket: str) -> None:
        self._client.delete_bucket_policy(Bucket=bucket)


class Gate:
    """A TCP proxy in front of `host:port`. `asked`: the first line of each request that went through.

    `limit`: so many bytes of an answer pass, if it is longer, then it is held, and `held` hears of it; None: all pass.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        (self._port,) = free_ports(1, HOST)
        self.url = f"http://{HOST}:{self._port}"
        self.asked: Arrivals[str] = Arrivals("request")
        self.held: Arrivals[int] = Arrivals("answer that is held")
        self.limit: int | None = None
        self._going_on = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.open()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    @property
    def gets(self) -> int:
        """How often an object was asked for."""
        return sum(line.startswith("GET ") for line in self.asked.so_far())

    def open(self) -> None:
        self._do(self._open())

    def close(self) -> None:
        """Nobody listens any more; connections end."""
        self._do(self._close())

    def cut(self) -> None:
        """End every connection, and hold no answer from now on."""
        self._do(self._cut())

    def go_on(self) -> None:
        """What was held passes."""
        self.limit = None
        self._loop.call_soon_threadsafe(self._going_on.set)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._came, HOST, self._port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        self.limit = None
        for writer in self._writers:
            writer.transport.abort()
        self._going_on.set()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        with suppress(OSError):
            await asyncio.wait(
                [asyncio.create_task(self._asks(reader, back)), asyncio.create_task(self._answers(there, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in (writer, back):
            each.transport.abort()
        self._writers -= {writer, back}

    async def _asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                self.asked.put(piece.partition(b"\r\n")[0].decode())
                writer.write(piece)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                if self.limit is not None and len(piece) > self.limit:  # the head of a HEAD's answer is shorter
                    first, piece = piece[: self.limit], piece[self.limit :]
                    writer.write(first)
                    await self._hold()
                writer.write(piece)
                await writer.drain()

    async def _hold(self) -> None:
        self._going_on.clear()
        self.held.put(1)
        await self._going_on.wait()
