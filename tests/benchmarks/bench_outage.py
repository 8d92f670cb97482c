"""What an outage of the service costs: `python tests/benchmarks/bench_outage.py [DEVICES] [HEARTBEATS EACH] [INTAKE]`.

Two outages, one like the other. Told: resident memory for each waiting heartbeat, the second peak beside the first,
the calls that tried a service that failed, and those that carried the backlog, beside its heartbeats.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table
from stage import broker, free_port, heartbeat, hello, process

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
REGISTERED = b'{"DeviceRegistration":"REGISTERED","CacheTTL":"3600"}'
PATIENCE = 300.0


class Service(asyncio.Protocol):
    """Answers a heartbeat or a registration, or 503 while it is `down`. Counts the calls of each kind."""

    down = False
    failed = accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (request := self._whole()) is not None:
            if Service.down:
                Service.failed += 1
                self.transport.write(UNAVAILABLE)
                continue
            beat = b"/SendHeartbeat" in request[:30]
            Service.accepted += beat
            body = b"{}" if beat else REGISTERED
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)

    def _whole(self) -> bytes | None:
        head, blank, _ = self.data.partition(b"\r\n\r\n")
        if not blank:
            return None
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        end = len(head) + 4 + length
        if len(self.data) < end:
            return None
        request, self.data = self.data[:end], self.data[end:]
        return request


def serve(port: int) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port, backlog=1000)
        await server.serve_forever()

    asyncio.run(forever())


class Gateway:
    """The process, its metrics and its memory."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"edge_gateway_{name} "))

    def memory(self, key: str = "VmRSS") -> int:
        """Bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def outage(gateway: Gateway, client: mqtt.Client, devices: int, each: int, intake: int) -> dict[str, float]:
    """All devices send while the service fails; then it comes back."""
    sent = devices * each
    before = gateway.memory()
    gateway.forget_peak()
    Service.down, Service.failed, Service.accepted = True, 0, 0
    for number in range(sent):
        topic, payload = heartbeat(number, devices, full=False)
        info = client.publish(topic, payload, 1)
        if number % 1000 == 999:
            info.wait_for_publish(60)
    waiting = min(sent, intake)
    until(lambda: gateway.metric("unacknowledged_messages") >= waiting)
    time.sleep(5)  # it goes on for a while
    held, failed = gateway.memory() - before, Service.failed
    settled = gateway.metric("messages_acknowledged_total")
    began = time.monotonic()
    Service.down = False
    until(lambda: gateway.metric("messages_acknowledged_total") - settled >= sent)
    return {
        "waiting": waiting,
        "each": held / waiting,
        "peak": gateway.memory("VmHWM"),
        "failed": failed,
        "calls": Service.accepted,
        "sent": sent,
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    devices, each, intake = [*given, *(10_000, 3, 30_000)[len(given) :]]
    service, pages = free_port(), free_port()
    threading.Thread(target=serve, args=(service,), daemon=True).start()
    with tempfile.TemporaryDirectory() as temporary, broker(Path(temporary)) as port:
        settings = {
            "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": f"http://127.0.0.1:{service}",
            **{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
            "GATEWAY_MQTT_URL": f"mqtt://127.0.0.1:{port}",
            **{"GATEWAY_STATE_DIR": temporary + "/state", "GATEWAY_HTTP_PORT": str(pages)},
            **{"GATEWAY_INTAKE": str(intake), "GATEWAY_RETRY_CAP": "2"},
        }
        with process(sys.executable, "-m", "gateway", "run", **settings) as child:
            gateway = Gateway(child.pid, pages)
            until(lambda: is_up(gateway))
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
            client.max_inflight_messages_set(1000)
            client.connect("127.0.0.1", port)
            client.loop_start()
            for number in range(devices):  # all are known and registered
                client.publish(*hello(number), 1, retain=True)
                client.publish(*heartbeat(number, devices, full=False), 1)
            until(lambda: gateway.metric("messages_acknowledged_total") >= 2 * devices)
            show(devices, intake, [outage(gateway, client, devices, each, intake) for _ in range(2)])
            client.loop_stop()


def is_up(gateway: Gateway) -> bool:
    try:
        return gateway.metric("connected") == 1
    except OSError:
        return False


def show(devices: int, intake: int, seen: list[dict[str, float]]) -> None:
    table = Table(title=f"{devices:,} devices, intake {intake:,}, two outages of the service")
    columns = "heartbeats, waiting, B a waiting one, peak MB, peak, calls failed, calls, heartbeats a call, s".split(
        ", "
    )
    for column in columns:
        table.add_column(column, justify="right")
    for run in seen:
        table.add_row(
            f"{run['sent']:,}",
            f"{run['waiting']:,}",
            f"{run['each']:,.0f}",
            f"{run['peak'] / 1e6:.0f}",
            f"{run['peak'] / seen[0]['peak']:.3f} x",
            f"{run['failed']:,.0f}",
            f"{run['calls']:,.0f}",
            f"{run['sent'] / run['calls']:.1f}",
            f"{run['seconds']:.1f}",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    main()
