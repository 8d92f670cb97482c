"""A fake Edge Manager over HTTP/1.1: it answers each request as a test says, and fails as a test says.

It uses asyncio's transports, since no HTTP framework sends half a reply or a reset. It must never check a request.
Where a test asks for nothing else, it answers as the service does: rest-json, errors by `x-amzn-ErrorType`.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, TypeAlias

from gateway.demo.brokers.address import free_ports
from tests.support.arrivals import Arrivals
from tests.support.loop_thread import LoopThread

HOST = "127.0.0.1"
JSON = "application/json"
HTML = "text/html"
INTERIM_S = 0.02
"""Between interim responses and the final one."""


class End(Enum):
    """How a request ends."""

    REPLY = "a reply"
    RESET = "a reset, and the request was not accepted"
    LOST = "accepted, and a reset in place of the reply"
    HALF = "half of the reply's head, then the end of the connection"
    HANG = "no reply at all"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its request line and header lines, and its body."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("ascii")

    @property
    def path(self) -> str:
        """As it was sent, with the query."""
        return self.head.split(b" ", 2)[1].decode("ascii")

    @property
    def operation(self) -> str:
        """The last part of the path: an endpoint may have a path of its own."""
        return self.path.rpartition("/")[2]

    def header(self, name: str) -> str | None:
        """Its value; None: the request does not have it."""
        wanted = name.lower().encode("ascii")
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == wanted:
                return value.strip().decode("ascii")
        return None

    @property
    def json(self) -> Any:
        """The body; None where it is empty."""
        return json.loads(self.body) if self.body else None

    @property
    def device(self) -> str:
        return str(self.json["DeviceName"])


@dataclass(frozen=True, slots=True)
class Reply:
    """What follows a request after `delay` seconds. `code`: the error's code. `body` None: the usual one of the
    operation or of the error. `kind` None: no Content-Type. `headers` replace others of the same name. `interim`: the
    statuses of responses that come before it (RFC 9110 15.2)."""

    status: int = 200
    code: str = ""
    body: str | bytes | None = None
    kind: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    interim: tuple[int, ...] = ()
    end: End = End.REPLY

    @property
    def accepts(self) -> bool:
        """Whether the service took the call: it replied with 200 and JSON, or the reply was lost."""
        taken = self.status == 200 and self.kind is not None and "json" in self.kind
        return self.end is End.LOST or (self.end is End.REPLY and taken)

    def encoded(self, usual: bytes) -> bytes:
        """`usual`: the body of the operation where the call is accepted."""
        body = self.body.encode() if isinstance(self.body, str) else self.body
        if body is None:
            body = (
                usual
                if self.status == 200
                else json.dumps({"Message": f"the test asked for {self.status} {self.code}"}).encode()
            )
        headers = {"Content-Length": str(len(body))}
        if self.kind is not None:
            headers["Content-Type"] = self.kind
        if self.code:
            headers["x-amzn-ErrorType"] = self.code
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **self.headers}.items())
        return f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n{lines}\r\n".encode("ascii") + body


Rule: TypeAlias = Callable[[Request], Reply | None]
"""What goes wrong with a request; None: nothing. It runs on the server's loop."""

ACCEPTED = Reply()
UNAVAILABLE = Reply(503, "ServiceUnavailable")
NOT_FOUND = Reply(404, body="", kind="text/plain")


def accept_all(request: Request) -> Reply | None:
    """Nothing goes wrong."""
    return None


def always(reply: Reply) -> Rule:
    return lambda request: reply


class FakeEdgeManager:
    """On a port of its own, which it keeps when it is opened again. `rule` may be changed at any time, from any thread.

    `registrations` (REGISTERED where a device is not in it) and `deployments` by device name.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_ports(1, HOST)[0]
        self.url = f"http://{HOST}:{self.port}"
        self.rule: Rule = accept_all
        self.registrations: dict[str, str] = {}
        self.deployments: dict[str, list[dict[str, Any]]] = {}
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), HOST, self.port, backlog=1000)

    async def close(self) -> None:
        """Nobody listens any more; connections end."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.reset()

    def reply_to(self, request: Request) -> Reply:
        """Called when the request is whole."""
        return self.rule(request) or (ACCEPTED if request.method == "POST" else NOT_FOUND)

    def usual_body(self, request: Request) -> bytes:
        """What the service answers where it accepts the call."""
        if request.operation == "GetDeviceRegistration":
            status = self.registrations.get(request.device, "REGISTERED")
            return json.dumps({"DeviceRegistration": status, "CacheTTL": "300"}).encode()
        if request.operation == "GetDeployments":
            return json.dumps({"Deployments": self.deployments.get(request.device, [])}).encode()
        return b""

    def replying(self, request: Request, reply: Reply) -> None:
        """Called before the reply leaves, or what takes its place."""


class _Connection(asyncio.Protocol):
    """One client's connection; requests come one after another."""

    def __init__(self, service: FakeEdgeManager) -> None:
        self._service = service
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (request := self._next()) is not None:
            reply = self._service.reply_to(request)
            if reply.delay:
                asyncio.get_running_loop().call_later(reply.delay, self._end, request, reply)
            else:
                self._end(request, reply)

    def _next(self) -> Request | None:
        """A whole request, taken from what came."""
        head, blank, rest = self._data.partition(b"\r\n\r\n")
        if not blank:
            return None
        at = head.lower().find(b"\r\ncontent-length:")
        size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < size:
            return None
        self._data = rest[size:]
        return Request(head, rest[:size])

    def _end(self, request: Request, reply: Reply) -> None:
        self._service.replying(request, reply)
        if reply.end in (End.RESET, End.LOST):
            self.reset()
        elif reply.end is End.HALF:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le")
            self._transport.close()
        elif reply.end is End.REPLY:
            usual = self._service.usual_body(request) if reply.body is None and reply.status == 200 else b""
            for status in reply.interim:
                self._transport.write(f"HTTP/1.1 {status} Interim\r\nLink: </x>\r\n\r\n".encode("ascii"))
            if reply.interim:  # the final response is in a segment of its own
                asyncio.get_running_loop().call_later(INTERIM_S, self._transport.write, reply.encoded(usual))
            else:
                self._transport.write(reply.encoded(usual))

    def reset(self) -> None:
        """RST, not FIN."""
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the API, its JSON body, and whether it was accepted."""

    operation: str
    body: dict[str, Any]
    accepted: bool

    @property
    def device(self) -> str:
        return str(self.body["DeviceName"])


class _Recorded(FakeEdgeManager):
    def __init__(self, calls: Arrivals[Call]) -> None:
        super().__init__()
        self._calls = calls

    def replying(self, request: Request, reply: Reply) -> None:
        if request.method == "POST":
            self._calls.put(Call(request.operation, request.json, reply.accepts))


class RecordingEdgeManager(LoopThread):
    """One in a thread of its own, whose calls a test awaits."""

    def __init__(self) -> None:
        super().__init__("edge manager")
        self.calls: Arrivals[Call] = Arrivals("call")
        self._service = _Recorded(self.calls)
        self.url = self._service.url
        self.registrations = self._service.registrations
        self.deployments = self._service.deployments

    async def opened(self) -> None:
        await self._service.open()

    async def closed(self) -> None:
        await self._service.close()

    def listen(self) -> None:
        self.run(self._service.open())

    def stop_listening(self) -> None:
        """Nobody listens any more; connections end."""
        self.run(self._service.close())

    def answer_by(self, rule: Rule) -> None:
        """From now on."""
        self._service.rule = rule

    def fail(self, reply: Reply = UNAVAILABLE) -> None:
        """Answer every call so."""
        self.answer_by(always(reply))

    def recover(self) -> None:
        self.answer_by(accept_all)

    def heartbeat(self, device: str) -> dict[str, Any]:
        """The body of the next SendHeartbeat of a device that was accepted."""
        return self._next("SendHeartbeat", device).body

    def wait_for_get_deployments(self, device: str) -> None:
        """Return when GetDeployments was answered for a device."""
        self._next("GetDeployments", device)

    def failed(self, device: str) -> Call:
        """Wait for a call of a device that went wrong."""
        return self.calls.next(lambda call: call.device == device and not call.accepted)

    def accepted_values(self, device: str) -> list[list[float]]:
        """The sample values of each SendHeartbeat of a device that was accepted and not taken, in the calls' order."""
        wanted = ("SendHeartbeat", device, True)
        calls = [call for call in self.calls.so_far() if (call.operation, call.device, call.accepted) == wanted]
        return [[metric["Value"] for metric in call.body.get("AgentMetrics", [])] for call in calls]

    def _next(self, operation: str, device: str) -> Call:
        wanted = (operation, device, True)
        return self.calls.next(lambda call: (call.operation, call.device, call.accepted) == wanted)
