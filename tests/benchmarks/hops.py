"""How many calls one acknowledged heartbeat takes: `python tests/benchmarks/hops.py [--list] [--time]`.

The objects are those of the gateway, from the MQTT session to the signed request and back to the PUBACK; the HTTP
connections and the sockets of the broker are replaced by queues that answer at once. Counted are the calls into files
of gateway/ (a generator that goes on counts as a call), and how often one call is in another file than the call before.
The device is known and registered, and has sent a heartbeat before. `--list` prints the calls, `--time` the CPU of one.
"""

import asyncio
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, cast

import msgpack

import gateway
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

ROOT = f"{Path(gateway.__file__).parent}/"
TOPIC = "edge/fleet-a/dev-000001/"
METRICS = [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]]
MODELS = [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]]
HELLO = msgpack.packb([4711, ["1.0.0", METRICS, MODELS], 1_795_458_600, 1024, 1])
HEARTBEAT = msgpack.packb([4711, 89, [81344, -61, 365], [[4, 2, [12, 50]]], None, None, 7])
JSON = {"content-type": "application/json"}
REGISTERED = HttpResponse(200, JSON, b'{"DeviceRegistration": "REGISTERED", "CacheTTL": "3000"}')
ACCEPTED = HttpResponse(200, JSON, b"")
HEARTBEATS = 20_000


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


class Bench:
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
                publisher._on_puback(Puback(next(iter(publisher._unacknowledged)), 0))


def counted(bench: Bench) -> list[tuple[str, str]]:
    """File and name of each call that one more heartbeat takes."""
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            calls.append((code.co_filename.removeprefix(ROOT), code.co_qualname))

    before = len(bench.subscriber.sent)
    sys.setprofile(note)
    try:
        bench.deliver("hb", HEARTBEAT)
    finally:
        sys.setprofile(None)
    assert len(bench.subscriber.sent) == before + 1
    return calls


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.deliver("hello", HELLO)
        await asyncio.sleep(0.05)  # the hello is written
        for _ in range(2):
            bench.deliver("hb", HEARTBEAT)
        calls = counted(bench)
        if "--list" in sys.argv:
            print(*(f"{file:32} {name}" for file, name in calls), sep="\n")
        changes = sum(here[0] != there[0] for here, there in pairwise(calls))
        print(f"{len(calls)} calls, {changes} changes of file")
        if "--time" in sys.argv:
            began = time.process_time()
            for _ in range(HEARTBEATS):
                bench.deliver("hb", HEARTBEAT)
            print(f"{(time.process_time() - began) / HEARTBEATS * 1e6:.1f} us of CPU for each of {HEARTBEATS:,}")
        bench.inbound.stop()
        bench.dispatcher.stop()


if __name__ == "__main__":
    asyncio.run(main())
