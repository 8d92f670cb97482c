"""The two observers of the demo: an MQTT subscriber of all topics, and an HTTP proxy before the Edge Manager.

They must never change what they observe: the subscriber publishes nothing, the proxy forwards the same bytes.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.events import CallEvent, Event, PublishEvent
from gateway.errors import MessageError
from gateway.mqtt import BrokerEndpoint, BrokerLimits, Delivery, MqttSession
from gateway.protocol import Topics

CLIENT_ID = "demo-observer"
ROOT = "edge"
HOST = "127.0.0.1"
MAX_BODY = 16 * 1024 * 1024
_CONNECTION_HEADERS = {"connection", "keep-alive", "transfer-encoding", "upgrade"}
_HEADERS_NOT_TO_ADD = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")

OnEvent: TypeAlias = Callable[[Event], None]


class TopicObserver:
    """Reports every message under the root, with the login of a user who may read them.

    `began`: the monotonic second from which events are counted.
    """

    def __init__(self, broker: BrokerAddress, login: BrokerLogin, began: float, on_publish: OnEvent) -> None:
        self._topics = Topics(ROOT)
        self._began = began
        self._on_publish = on_publish
        endpoint = BrokerEndpoint(broker.host, broker.gateway_port, CLIENT_ID, login.user, login.password)
        self._session = MqttSession(endpoint, [f"{ROOT}/#"], self, 1000)

    @property
    def is_up(self) -> bool:
        """False if it may have missed a message."""
        return self._session.up

    async def open(self) -> None:
        """Return when the broker has confirmed the subscription. Raises BrokerError."""
        await self._session.open()

    async def close(self) -> None:
        await self._session.close()

    def connected(self, connection: int, resumed: bool) -> None:
        """There is one connection, made before the first device connects."""

    def may_publish(self, limits: BrokerLimits) -> None:
        """It publishes nothing."""

    def delivered(self, delivery: Delivery) -> None:
        self._session.ack(delivery)
        try:
            device, channel = self._topics.parse(delivery.topic)
        except MessageError:
            return  # a user of `--keep` publishes to other topics
        at = time.monotonic() - self._began
        self._on_publish(PublishEvent(at, device, channel, delivery.topic, delivery.payload))


class RecordingProxy:
    """`target`: URL of the manager. While it is None the proxy answers 503, and the gateway retries."""

    def __init__(self, session: aiohttp.ClientSession, port: int, began: float, on_call: OnEvent) -> None:
        self.target: str | None = None
        self.port = port
        self._session = session
        self._began = began
        self._on_call = on_call

    async def handle(self, request: web.Request) -> web.Response:
        """Forward one request. It reports calls of the API (POST), but no reads of model files (GET, HEAD)."""
        body = await request.read()
        if self.target is None:
            return web.Response(status=503)
        try:
            response = await self._forward(self.target, request, body)
        except aiohttp.ClientError:
            response = web.Response(status=502)
        if request.method == "POST":
            self._report(request, body, response)
        return response

    async def _forward(self, target: str, request: web.Request, body: bytes) -> web.Response:
        async with self._session.request(
            request.method,
            URL(target + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers.items()),
            data=body or None,
            skip_auto_headers=_HEADERS_NOT_TO_ADD,
            allow_redirects=False,
        ) as response:
            headers = _end_to_end(response.headers.items())
            return web.Response(status=response.status, headers=headers, body=await response.read() or None)

    def _report(self, request: web.Request, body: bytes, response: web.Response) -> None:
        line = len(f"{request.method} {request.raw_path} HTTP/1.1\r\n")
        head = line + sum(len(name) + len(value) + 4 for name, value in request.raw_headers) + 2
        operation = request.raw_path.partition("?")[0].strip("/")
        content = response.body if isinstance(response.body, bytes) else b""
        self._on_call(CallEvent(time.monotonic() - self._began, operation, body, head, response.status, content))


@asynccontextmanager
async def recording_proxy(port: int, began: float, on_call: OnEvent) -> AsyncIterator[RecordingProxy]:
    """A proxy that listens on `port` of loopback. Raises OSError if it cannot."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy = RecordingProxy(session, port, began, on_call)
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
            yield proxy
        finally:
            await runner.cleanup()


def _end_to_end(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Without the headers that are for one connection."""
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in _CONNECTION_HEADERS)
