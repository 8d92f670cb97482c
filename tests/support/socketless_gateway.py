"""A gateway without its sockets: its objects from the MQTT session to the signed request and back to the PUBACK.

In place of the HTTP connections and the broker's sockets are queues that answer at once. No test of its own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gateway.cloud.availability import Availability
from gateway.cloud.boto_transport import make_session
from gateway.cloud.client import EdgeManagerClient
from gateway.cloud.credentials import CredentialSource
from gateway.cloud.direct_transport import DirectTransport
from gateway.cloud.http_client import HttpResponse
from gateway.cloud.sigv4 import AwsCredentials
from gateway.core import Engine, Policy
from gateway.mqtt.connection import BrokerConnection, BrokerEndpoint
from gateway.mqtt.packets import Puback, Publish
from gateway.mqtt.session import MqttSession
from gateway.ops.call_monitor import CallMonitor
from gateway.ops.metrics import Metrics
from gateway.pipeline import DeviceRateLimiter, Dispatcher, InboundHandler, InFlightLimit, SessionWatch
from gateway.protocol.topics import Topics
from gateway.retry import RetryPolicy
from gateway.storage.session_file import SessionFile
from gateway.storage.state_store import StateStore

TOPIC = "edge/fleet-a/dev-000001/"
JSON = {b"Content-Type": b"application/json"}
REGISTERED = HttpResponse(200, JSON, b'{"DeviceRegistration": "REGISTERED", "CacheTTL": "3000"}')
ACCEPTED = HttpResponse(200, JSON, b"")


class Requests:
    """In place of the HTTP connections. The first request asks for the registration."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[HttpResponse], None]] = deque()
        self._registered = False

    def send(self, request: bytes, done: Callable[[HttpResponse], None]) -> None:
        self.waiting.append(done)

    def answer(self) -> None:
        while self.waiting:
            response = ACCEPTED if self._registered else REGISTERED
            self._registered = True
            self.waiting.popleft()(response)

    def close(self) -> None:
        pass


class Socket:
    """In place of a socket to the broker."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self) -> None:
        pass


class Models:
    """In place of the model files, which no heartbeat reads."""

    def close(self) -> None:
        pass


class SocketlessGateway:
    """One gateway without its sockets."""

    def __init__(self, folder: Path) -> None:
        metrics = Metrics()
        monitor = CallMonitor(metrics)
        rates = DeviceRateLimiter(1e9, 1e9)
        limit = InFlightLimit(1000, 1 << 30, rates, metrics)
        topics = Topics("edge")
        engine, store, filters = Engine(Policy()), StateStore(folder), topics.filters((), None)
        self.dispatcher = Dispatcher(engine, topics, store, metrics, limit, hello_wait=5.0, block_expiry=60)
        watch = SessionWatch(SessionFile(folder, "bench", "127.0.0.1:1883"), metrics)
        self.inbound = InboundHandler(engine, self.dispatcher, topics, store, metrics, limit, rates, 65_536, watch)
        self.session = MqttSession(BrokerEndpoint("127.0.0.1", 1883, "bench"), filters, self.inbound, 1000)
        self.requests, self.subscriber, self.publisher = Requests(), Socket(), Socket()
        self._open(self.session._subscriber, self.subscriber)
        self._open(self.session._publisher, self.publisher)
        client = EdgeManagerClient(
            self._transport(),
            RetryPolicy(asyncio.Event()),
            Availability(64, 300.0, time.monotonic()),
            monitor.on_attempt,
            monitor.on_retry,
        )
        self.dispatcher.start(self.session, client, cast("Any", Models()))
        self.inbound.start(self.session, client)
        self.session._on_connected(False)
        self._packet_id = 0

    def _open(self, connection: BrokerConnection, socket: Socket) -> None:
        connection._adapter = cast("Any", socket)
        connection.connected.set()

    def _transport(self) -> DirectTransport:
        session = make_session(CredentialSource("eu-west-1", 1.0, 1.0))
        client = session.client("sagemaker-edge", "eu-west-1", endpoint_url="http://127.0.0.1:9")
        transport = DirectTransport(session, client, 64)
        transport._credentials = AwsCredentials("AKIDEXAMPLE", "secret")
        transport._refreshed = time.monotonic() + 3600
        transport._pool.close()
        transport._pool = cast("Any", self.requests)
        return transport

    def deliver(self, channel: str, payload: bytes) -> None:
        """A message comes in; service and broker answer at once."""
        self._packet_id = self._packet_id % 0xFFFF + 1
        self.session._on_message(Publish(TOPIC + channel, payload, 1, self._packet_id))
        publisher = self.session._publisher
        while self.requests.waiting or self.publisher.sent:
            self.requests.answer()
            if self.publisher.sent:
                self.publisher.sent.clear()
                for packet_id in list(publisher._unacknowledged):
                    publisher._on_puback(Puback(packet_id, 0))
