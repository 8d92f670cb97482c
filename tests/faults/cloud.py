"""An Edge Manager that misbehaves on order, and tells the ledger of every call that it accepted.

It speaks HTTP/1.1 on asyncio's bare transports, since half an answer and a reset are no answers that a framework gives.
It must never tell the ledger of a call that it did not accept, nor answer before it told.
"""

import asyncio
import json
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httptools

from gateway.demo.brokers.address import free_ports
from tests.faults.ledger import Ledger
from tests.faults.troubles import EXPIRED, FINE, SKEWED, End, Judge, Trouble, fine

HOST = "127.0.0.1"
ANSWERS = {
    "GetDeviceRegistration": b'{"DeviceRegistration": "REGISTERED", "CacheTTL": "300"}',
    "GetDeployments": b'{"Deployments": []}',
    "SendHeartbeat": b"",
}


@dataclass(slots=True)
class Signature:
    """What the cloud looks at of one: the access key, and the date in Unix seconds."""

    key: str = ""
    date: float = 0.0


class Cloud:
    """`judge` may be changed at any time, from any thread. `attempts` counts calls by (operation, whether accepted).

    `times`: when calls were accepted, in monotonic seconds. `good_key`: the one access key that may sign;
    `skew_allowed`: how many seconds a signature's date may be off; None: nobody looks. `issued`: what a client that
    asks for credentials is given.
    """

    def __init__(self, ledger: Ledger) -> None:
        (self.port,) = free_ports(1, HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.judge: Judge = fine
        self.attempts: Counter[tuple[str, bool]] = Counter()
        self.times: list[float] = []
        self.good_key: str | None = None
        self.skew_allowed: float | None = None
        self.issued: dict[str, str] = {}
        self.ledger = ledger
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), HOST, self.port, backlog=1000)

    async def close(self) -> None:
        """Nobody listens any more; connections end."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.reset()

    def made(self, accepted: bool | None = None, operation: str | None = None) -> int:
        """How many calls came; None: whatever."""
        wanted = ((op, ok) for op, ok in self.attempts if operation in (None, op) and accepted in (None, ok))
        return sum(self.attempts[each] for each in wanted)

    def fate(self, operation: str, device: str, signature: Signature) -> Trouble:
        """What becomes of a call."""
        return self.judge(operation, device) or self._doubt(signature) or FINE

    def _doubt(self, signature: Signature) -> Trouble | None:
        """What is wrong with a signature. None: nothing, or nobody looks."""
        if self.good_key not in (None, signature.key):
            return EXPIRED
        if self.skew_allowed is not None and abs(signature.date - time.time()) > self.skew_allowed:
            return SKEWED
        return None

    def take(self, operation: str, body: dict[str, Any]) -> None:
        """Accept a call."""
        self.times.append(time.monotonic())
        if operation == "SendHeartbeat":
            samples = [(metric["Value"], int(metric["Timestamp"])) for metric in body.get("AgentMetrics", [])]
            result = body.get("DeploymentResult", {}).get("DeploymentName")
            self.ledger.accepted(body["DeviceName"], samples, result)


class Connection(asyncio.Protocol):
    """One client's connection; requests come one after another."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._path, self._signature, self._body = "", Signature(), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._cloud.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._cloud.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._signature, self._body = url.decode("ascii").strip("/"), Signature(), b""

    def on_header(self, name: bytes, value: bytes) -> None:
        text = value.decode("ascii")
        if name.lower() == b"authorization":
            self._signature.key = text.partition("Credential=")[2].partition("/")[0]
        elif name.lower() == b"x-amz-date":
            self._signature.date = datetime.strptime(text + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._path == "credentials":
            self._answer(200, json.dumps(self._cloud.issued).encode())
            return
        operation, body = self._path, json.loads(self._body)
        trouble = self._cloud.fate(operation, body["DeviceName"], self._signature)
        if trouble.delay:
            asyncio.get_running_loop().call_later(trouble.delay, self._end, operation, body, trouble)
        else:
            self._end(operation, body, trouble)

    def _end(self, operation: str, body: dict[str, Any], trouble: Trouble) -> None:
        self._cloud.attempts[operation, trouble.accepts] += 1
        if trouble.accepts:
            self._cloud.take(operation, body)
        if trouble.end in (End.RESET, End.LOST):
            self.reset()
        elif trouble.end is End.HALF:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le")
            self._transport.close()
        elif trouble.end is End.ANSWER:
            answer = ANSWERS[operation] if trouble.status == 200 else b"{}"
            self._answer(trouble.status, answer if trouble.body is None else trouble.body, trouble.code, trouble.kind)

    def _answer(self, status: int, body: bytes, code: str = "", kind: str = "application/json") -> None:
        error = f"x-amzn-ErrorType: {code}\r\n" if code else ""
        head = f"HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\n{error}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode("ascii") + body)

    def reset(self) -> None:
        """RST, not FIN."""
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
