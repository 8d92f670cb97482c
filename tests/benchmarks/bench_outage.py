"""What an outage of the service costs: `python tests/benchmarks/bench_outage.py [DEVICES] [HEARTBEATS EACH] [INTAKE]`.

Two outages, one like the other. Printed: resident memory for each waiting heartbeat, the second peak beside the first,
the calls that tried a service that failed, and those that carried the backlog, beside its heartbeats.
"""

import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from gateway.demo.brokers.address import free_ports

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import broker, heartbeat, hello, process
from tests.support.edge_manager import ACCEPTED, UNAVAILABLE, FakeEdgeManager, Reply, Request
from tests.support.loop_thread import LoopThread
from tests.support.process_memory import forget_peak, peak, resident

WITHIN_S = 300.0


class Service(FakeEdgeManager):
    """Accepts every call, or answers 503 while it is `down`. Counts the calls that failed and the heartbeats' ones."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.failed = self.accepted = 0

    def reply_to(self, request: Request) -> Reply:
        return UNAVAILABLE if self.down else ACCEPTED

    def replying(self, request: Request, reply: Reply) -> None:
        self.failed += not reply.accepts
        self.accepted += reply.accepts and request.head.startswith(b"POST /SendHeartbeat")


class ServiceThread(LoopThread):
    """A service on a loop of its own."""

    def __init__(self) -> None:
        super().__init__("service")
        self.service = Service()

    async def opened(self) -> None:
        await self.service.open()

    async def closed(self) -> None:
        await self.service.close()


class Gateway:
    """The process, its metrics and its memory."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"edge_gateway_{name} "))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def outage(
    gateway: Gateway, service: Service, client: mqtt.Client, devices: int, each: int, intake: int
) -> dict[str, float]:
    """All devices send while the service fails; then it comes back."""
    sent = devices * each
    before = resident(gateway.pid)
    forget_peak(gateway.pid)
    service.down, service.failed, service.accepted = True, 0, 0
    for number in range(sent):
        topic, payload = heartbeat(number, devices, full=False)
        info = client.publish(topic, payload, 1)
        if number % 1000 == 999:
            info.wait_for_publish(60)
    waiting = min(sent, intake)
    until(lambda: gateway.metric("unacknowledged_messages") >= waiting)
    time.sleep(5)  # it goes on for a while
    grown, failed = resident(gateway.pid) - before, service.failed
    acknowledged = gateway.metric("messages_acknowledged_total")
    began = time.monotonic()
    service.down = False
    until(lambda: gateway.metric("messages_acknowledged_total") - acknowledged >= sent)
    return {
        "waiting": waiting,
        "each": grown / waiting,
        "peak": peak(gateway.pid),
        "failed": failed,
        "calls": service.accepted,
        "sent": sent,
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    devices, each, intake = [*given, *(10_000, 3, 30_000)[len(given) :]]
    (pages,) = free_ports(1)
    with ServiceThread() as thread, tempfile.TemporaryDirectory() as temporary, broker(Path(temporary)) as port:
        settings = {
            "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": thread.service.url,
            **{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
            "GATEWAY_MQTT_URL": f"mqtt://127.0.0.1:{port}",
            **{"GATEWAY_STATE_DIR": temporary + "/state", "GATEWAY_HTTP_PORT": str(pages)},
            **{"GATEWAY_INTAKE": str(intake), "GATEWAY_RETRY_CAP": "2"},
        }
        with process(sys.executable, "-m", "gateway", "run", **settings) as child:
            gateway = Gateway(child.pid, pages)
            until(lambda: is_up(gateway))
            client = mqtt.Client(CallbackAPIVersion.VERSION2)
            client.max_inflight_messages_set(1000)
            client.connect("127.0.0.1", port)
            client.loop_start()
            for number in range(devices):  # all are known and registered
                client.publish(*hello(number), 1, retain=True)
                client.publish(*heartbeat(number, devices, full=False), 1)
            until(lambda: gateway.metric("messages_acknowledged_total") >= 2 * devices)
            show(devices, intake, [outage(gateway, thread.service, client, devices, each, intake) for _ in range(2)])
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
    main()
