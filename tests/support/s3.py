"""An S3 of another project (moto's server), and a proxy in front of it that counts requests, pauses and cuts.

It must never change a byte.
"""

import asyncio
import json
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from tests.support.arrivals import Arrivals
from tests.support.loop_thread import LoopThread
from tests.support.tcp_proxy import TcpProxy

HOST = "127.0.0.1"
REGION = "eu-central-1"


class S3Server:
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


class _PausingProxy(TcpProxy):
    """`limit`: so many bytes of a longer answer pass, then the answer waits until `resumed`; None: all pass."""

    def __init__(self, host: str, port: int, requests: Arrivals[str], paused: Arrivals[int]) -> None:
        super().__init__(host, port)
        self._requests, self._paused = requests, paused
        self.limit: int | None = None
        self.resumed = asyncio.Event()

    def cut(self) -> None:
        """End every connection, and pause no answer from now on."""
        self.limit = None
        super().cut()
        self.resumed.set()

    async def to_server(self, piece: bytes, server: asyncio.StreamWriter) -> None:
        self._requests.put(piece.partition(b"\r\n")[0].decode())
        await super().to_server(piece, server)

    async def to_client(self, piece: bytes, client: asyncio.StreamWriter) -> None:
        if self.limit is not None and len(piece) > self.limit:  # the head of a HEAD's answer is shorter
            client.write(piece[: self.limit])
            piece = piece[self.limit :]
            self.resumed.clear()
            self._paused.put(1)
            await self.resumed.wait()
        await super().to_client(piece, client)


class S3Proxy(LoopThread):
    """A proxy in front of `host:port`, in a thread of its own. `requests`: the first line of each request that passed.

    `paused`: an item for each answer that waits, of which `limit` bytes passed; `limit` None: all pass.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__("S3 proxy")
        self.requests: Arrivals[str] = Arrivals("request")
        self.paused: Arrivals[int] = Arrivals("answer that is paused")
        self._proxy = _PausingProxy(host, port, self.requests, self.paused)
        self.url = f"http://{HOST}:{self._proxy.port}"

    async def opened(self) -> None:
        await self._proxy.open()

    async def closed(self) -> None:
        await self._proxy.close()

    @property
    def gets(self) -> int:
        """How often an object was asked for."""
        return sum(line.startswith("GET ") for line in self.requests.so_far())

    def pause_after(self, limit: int) -> None:
        """So many bytes of each longer answer pass, from now on."""
        self._proxy.limit = limit

    def resume(self) -> None:
        """What was paused passes, and nothing is paused from now on."""
        self.call(self._resume)

    def cut(self) -> None:
        """End every connection, and pause no answer from now on."""
        self.call(self._proxy.cut)

    def listen(self) -> None:
        self.run(self._proxy.open())

    def stop_listening(self) -> None:
        """Nobody listens any more; connections end."""
        self.run(self._proxy.close())

    def _resume(self) -> None:
        self._proxy.limit = None
        self._proxy.resumed.set()
