"""The gateway beside the paho+boto3 loop, in one run on one machine: `python tests/benchmarks/bench_gateway.py [N]`.

The heartbeats wait in a Mosquitto of the benchmark's own, in the session of the one who will read them; then that one
starts, and a counting Edge Manager says when each heartbeat came. So nobody publishes while something is measured.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack
import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
METRICS = [["sys", "sequence-no"], ["sys", "rssi"], ["sys", "temperature", -1]]
LAYOUT = ["1.0.0", METRICS, [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]]]
NOW = int(time.time())


@dataclass(frozen=True)
class Case:
    """So many heartbeats of so many devices; the service answers after `delay` seconds."""

    name: str
    devices: int
    gateway: int
    loop: int
    delay: float = 0.0


CASES = (
    Case("different devices", 2000, 30_000, 3_000),
    Case("200 devices, merging", 200, 30_000, 3_000),
    Case("20 ms a call", 2000, 10_000, 300, 0.02),
)


@dataclass(frozen=True)
class Seen:
    """What one run showed; `cpu` in seconds, `memory` in MB."""

    heartbeats: int
    posts: int
    seconds: float
    cpu: float
    memory: float

    @property
    def rate(self) -> float:
        return self.heartbeats / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU a heartbeat."""
        return self.cpu / self.heartbeats * 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment
        )
        try:
            yield child
        finally:
            child.terminate()
            child.wait(15)


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A Mosquitto that queues without a limit."""
    port = free_port()
    conf = folder / "mosquitto.conf"
    limits = "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\n"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_type error\n{limits}")
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    with process(str(shutil.which("mosquitto", path=path)), "-c", str(conf)):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port


def heartbeat(number: int, devices: int, full: bool, base: int = 777_000_000_000) -> tuple[str, bytes]:
    """Topic and payload; the marker is the first metric's value. `full`: the keys of SendHeartbeat, for the loop."""
    device, marker = f"dev-{number % devices:06d}", base + number
    if not full:
        return f"edge/fleet-a/{device}/hb", msgpack.packb([4711, 100, [marker, -61, 365], [[4, 2, [12, 50]]]])
    values = zip(METRICS, (marker, -61, 36.5), strict=True)
    metrics = [{"Dimension": m[0], "MetricName": m[1], "Value": value, "Timestamp": NOW} for m, value in values]
    model = {"ModelName": "keyword-spotting", "ModelVersion": "1.0", "LatestSampleTime": NOW, "LatestInference": NOW}
    model["ModelMetrics"] = metrics[1:]
    who = {"DeviceName": device, "DeviceFleetName": "fleet-a", "AgentVersion": "1.0.0"}
    return f"edge/fleet-a/{device}/heartbeat", msgpack.packb(who | {"AgentMetrics": metrics, "Models": [model]})


def hello(number: int) -> tuple[str, bytes]:
    """Topic and payload."""
    return f"edge/fleet-a/dev-{number:06d}/hello", msgpack.packb([4711, LAYOUT, NOW - 200])


def fill(port: int, case: Case, count: int, full: bool) -> None:
    """Hellos and heartbeats, published and confirmed."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish(*hello(number), 1, retain=True) for number in range(case.devices)]
    sent += [client.publish(*heartbeat(number, case.devices, full), 1) for number in range(count)]
    for each in sent:
        each.wait_for_publish(60)
    client.loop_stop()


def run(case: Case, system: str) -> Seen:
    count = case.gateway if system == "gateway" else case.loop
    with (
        tempfile.TemporaryDirectory() as temporary,
        broker(Path(temporary)) as port,
        process(sys.executable, str(HERE / "counting.py"), str(case.delay)) as service,
    ):
        assert service.stdout is not None
        settings = {
            "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": f"http://127.0.0.1:{service.stdout.readline().strip()}",
            **{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
            "GATEWAY_MQTT_URL": f"mqtt://127.0.0.1:{port}",
            **{"GATEWAY_STATE_DIR": temporary + "/state", "GATEWAY_HTTP_PORT": "off"},
        }
        command = [sys.executable, str(HERE / "loop.py"), "127.0.0.1", str(port)]
        if system == "gateway":
            command = [sys.executable, "-m", "gateway", "run"]
        with process(*command, **settings) as first:  # its session is what the heartbeats will wait in
            wait_for_session(port, first, system)
        fill(port, case, count, full=system == "loop")
        with process(*command, **settings) as reader:
            return drained(service, reader, count)


def wait_for_session(port: int, reader: subprocess.Popen[str], system: str) -> None:
    """Until a probe of the reader's own topics finds a subscriber."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    answers: list[int] = []
    client.on_publish = lambda c, u, mid, reason, properties: answers.append(reason.value)
    client.connect("127.0.0.1", port)
    client.loop_start()
    topic = "edge/fleet-a/probe/" + ("hello" if system == "gateway" else "heartbeat")
    payload = b"" if system == "gateway" else heartbeat(0, 1, full=True, base=0)[1]
    while not answers or answers[-1] != 0:
        client.publish(topic, payload, 1).wait_for_publish(10)
        time.sleep(0.05)
    client.loop_stop()


def drained(service: subprocess.Popen[str], reader: subprocess.Popen[str], count: int) -> Seen:
    """Until all heartbeats came, or none for 20 s. CPU is counted from the first one on."""
    assert service.stdin is not None
    assert service.stdout is not None
    came, last, began = {"heartbeats": 0}, time.monotonic(), None
    while came["heartbeats"] < count and time.monotonic() - last < 20:
        time.sleep(0.05)
        print(file=service.stdin, flush=True)
        found = json.loads(service.stdout.readline())
        if found["heartbeats"] > came["heartbeats"]:
            last = time.monotonic()
            began = began or (found["heartbeats"], cpu(reader.pid))
        came = found
    early, cpu_early = began or (0, 0.0)
    each = (cpu(reader.pid) - cpu_early) / max(1, came["heartbeats"] - early)
    used = each * came["heartbeats"]
    return Seen(came["heartbeats"], came["posts"], came["seconds"], used, memory(reader.pid))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    table = Table(title=f"medians of {rounds}, in one run", caption="loop: paho and boto3 in one callback")
    for column in ("case", "system", "heartbeats/s", "ratio", "CPU us each", "ratio", "calls", "peak MB", "lost"):
        table.add_column(column, justify="left" if column in ("case", "system") else "right")
    for case in CASES:
        seen = {system: [run(case, system) for _ in range(rounds)] for system in ("loop", "gateway")}
        rate = {system: statistics.median(each.rate for each in runs) for system, runs in seen.items()}
        each_cpu = {system: statistics.median(each.cpu_each for each in runs) for system, runs in seen.items()}
        for system, runs in seen.items():
            wanted = case.gateway if system == "gateway" else case.loop
            lost = sum(wanted - each.heartbeats for each in runs)
            table.add_row(
                case.name,
                system,
                f"{rate[system]:,.0f}",
                f"{rate[system] / rate['loop']:.1f} x",
                f"{each_cpu[system]:.0f}",
                f"1/{each_cpu['loop'] / each_cpu[system]:.1f}",
                f"{runs[-1].posts:,}",
                f"{max(each.memory for each in runs):.0f}",
                str(lost),
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
