"""What the benchmarks share: a Mosquitto, a counting Edge Manager, the systems that are compared. Measures nothing.

Every process is the benchmark's own and ends with it; all is on loopback.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.discovery import mosquitto_binary

ROOT = Path(__file__).parents[2]
METRICS: list[list[str | int]] = [["sys", "sequence-no"], ["sys", "rssi"], ["sys", "temperature", -1]]
LAYOUT = ["1.0.0", METRICS, [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]]]
NOW = int(time.time())
MARKER = 777_000_000_000
TAG = 4711


def module(name: str) -> list[str]:
    """The command that runs another file of this folder."""
    return [sys.executable, "-m", f"tests.benchmarks.{name}"]


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        )
        try:
            yield child
        finally:
            child.terminate()
            child.wait(30)


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A Mosquitto that queues without a limit."""
    (port,) = free_ports(1)
    conf = folder / "mosquitto.conf"
    limits = "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\n"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_type error\n{limits}")
    found = mosquitto_binary()
    if found is None:
        raise SystemExit("a benchmark needs Mosquitto on the PATH")
    with process(found, "-c", str(conf)):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port


class Service:
    """The process of a counting Edge Manager (counting_service.py)."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        assert child.stdout is not None
        self.port = int(child.stdout.readline())

    def ask(self, question: str) -> dict[str, float]:
        """`count`: heartbeats, posts, seconds between the first and the last, and GETs of the model; `times`: marker ->
        when it came; `fail` and `work`: answer 503 from now on, or no more."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(question, file=self._child.stdin, flush=True)
        found: dict[str, float] = json.loads(self._child.stdout.readline())
        return found

    def wait_for(self, heartbeats: int, within: float = 20.0) -> dict[str, float]:
        """The count, once so many came, or none for `within` seconds."""
        count, last = self.ask("count"), time.monotonic()
        while count["heartbeats"] < heartbeats and time.monotonic() - last < within:
            time.sleep(0.05)
            now = self.ask("count")
            if now["heartbeats"] > count["heartbeats"]:
                last = time.monotonic()
            count = now
        return count


@dataclass(frozen=True)
class Environment:
    """A broker and a service, and a folder for what the systems keep. `gateway`: the program that `reader` starts."""

    port: int
    service: Service
    folder: Path
    gateway: tuple[str, ...] = (sys.executable, "-m", "gateway")

    @contextmanager
    def reader(self, system: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """`gateway`, or `loop`: what is compared with it."""
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.service.port}",
            **{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
            "GATEWAY_MQTT_URL": f"mqtt://127.0.0.1:{self.port}",
            **{"GATEWAY_STATE_DIR": f"{self.folder}/state", "GATEWAY_HTTP_PORT": "0"},
        }
        command = [*self.gateway, "run"]
        if system == "loop":
            command = [*module("baseline_loop"), "127.0.0.1", str(self.port)]
        with process(*command, **variables | settings) as child:
            yield child

    def let_subscribe(self, system: str, fleet: str = "fleet-a", **settings: str) -> None:
        """Run a system until the broker keeps a session for it."""
        with self.reader(system, **settings), self.client() as client:
            answers: list[int] = []
            client.on_publish = lambda c, u, mid, reason, properties: answers.append(reason.value)
            topic = f"edge/{fleet}/probe/" + ("hello" if system == "gateway" else "heartbeat")
            payload = b"" if system == "gateway" else heartbeat(0, 1, full=True, marker=0)[1]
            while not answers or answers[-1] != 0:
                client.publish(topic, payload, 1).wait_for_publish(10)
                time.sleep(0.05)

    @contextmanager
    def client(self) -> Iterator[mqtt.Client]:
        """A connection of the benchmark's own."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()

    def publish_hellos(self, devices: int, fleet: str = "fleet-a") -> None:
        """Each device's hello, retained and confirmed."""
        with self.client() as client:
            publish_all(client, ((*hello(number, fleet), True) for number in range(devices)))

    def fill(self, count: int, devices: int, full: bool, fleet: str = "fleet-a", first: int = 0) -> None:
        """Heartbeats, published and confirmed. `full`: as the loop takes them."""
        with self.client() as client:
            numbers = range(first, first + count)
            publish_all(client, ((*heartbeat(number, devices, full, fleet=fleet), False) for number in numbers))


def publish_all(client: mqtt.Client, messages: Iterator[tuple[str, bytes, bool]]) -> None:
    """Publish with QoS 1 and wait for every confirmation, a few thousand at a time."""
    waiting: list[mqtt.MQTTMessageInfo] = []
    for topic, payload, retain in messages:
        waiting.append(client.publish(topic, payload, 1, retain))
        if len(waiting) == 5000:
            waiting = _confirmed(waiting)
    _confirmed(waiting)


def _confirmed(waiting: list[mqtt.MQTTMessageInfo]) -> list[mqtt.MQTTMessageInfo]:
    for each in waiting:
        each.wait_for_publish(60)
    return []


@contextmanager
def environment(delay: float = 0.0, model: bytes = b"") -> Iterator[Environment]:
    """A fresh one; the service answers after `delay` seconds. `model`: a file in every device's plan."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(broker(folder))
        offered = folder / "model"
        offered.write_bytes(model)
        command = [*module("counting_service"), str(delay), *([str(offered)] if model else [])]
        child = stack.enter_context(process(*command))
        yield Environment(port, Service(child), folder)


def hello(number: int, fleet: str = "fleet-a") -> tuple[str, bytes]:
    """Topic and payload."""
    return f"edge/{fleet}/dev-{number:06d}/hello", msgpack.packb([TAG, LAYOUT, NOW - 200])


def heartbeat(number: int, devices: int, full: bool, marker: int = MARKER, fleet: str = "fleet-a") -> tuple[str, bytes]:
    """Topic and payload; the marker is the first metric's value. `full`: the keys of SendHeartbeat, for the loop."""
    device, marker = f"dev-{number % devices:06d}", marker + number
    if not full:
        return f"edge/{fleet}/{device}/hb", msgpack.packb([TAG, 100, [marker, -61, 365], [[4, 2, [12, 50]]]])
    values = zip(METRICS, (marker, -61, 36.5), strict=True)
    metrics: list[dict[str, object]] = [
        {"Dimension": m[0], "MetricName": m[1], "Value": value, "Timestamp": NOW} for m, value in values
    ]
    model: dict[str, object] = {
        "ModelName": "keyword-spotting",
        "ModelVersion": "1.0",
        "LatestSampleTime": NOW,
        "LatestInference": NOW,
    }
    model["ModelMetrics"] = metrics[1:]
    who = {"DeviceName": device, "DeviceFleetName": fleet, "AgentVersion": "1.0.0"}
    return f"edge/{fleet}/{device}/heartbeat", msgpack.packb(who | {"AgentMetrics": metrics, "Models": [model]})


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine(folder: Path) -> dict[str, str]:
    """What a figure depends on besides the code; `folder`: where the systems keep their data."""
    processor = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition(":")[2].partition("\n")[0]
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(point, kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return {
        "processor": processor.strip() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "file system": max(inside, key=lambda each: len(each[0]))[1] if inside else "unknown",
    }


def megabytes(size: int) -> float:
    """Of bytes, in MB of 2**20."""
    return size / 2**20
