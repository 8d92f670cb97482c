"""What a flood of tiny messages costs others: `python tests/benchmarks/bench_flood.py [SECONDS [CASE...]]`.

Mosquitto with the shipped configuration, the gateway with its default settings, and connections that publish as fast as
the broker reads. Beside them 20 devices send 200 heartbeats a second at QoS 1. For each case, beside what the flood
brought: what the gateway rejected meanwhile, what the broker dropped, how many of the others' confirmed heartbeats were
lost, and how long after the end of the flood the last of the others came.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgpack
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.demo.brokers.discovery import mosquitto_binary
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.benchmarks.environment import cpu
from tests.support.edge_manager import FakeEdgeManager, Reply, Request
from tests.support.flood import Flood
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.loop_thread import LoopThread
from tests.support.payloads import LAYOUT

OTHERS, RATE = 20, 200
SETTLE_S = 20.0
"""How long what was confirmed may take to arrive after the flood."""
SYS_INTERVAL_S = 11.0
TINY = msgpack.packb([1, 2, [3]])


@dataclass(frozen=True)
class Case:
    """So many connections that flood, of one device each; `delay`: seconds a call of the service takes."""

    name: str
    connections: int
    qos: int
    delay: float = 0.0


CASES = (
    Case("1 connection, QoS 1", 1, 1),
    Case("1 connection, QoS 0", 1, 0),
    Case("1 connection, QoS 1, 0.2 s a call", 1, 1, 0.2),
    Case("4 connections, QoS 1", 4, 1),
    Case("4 connections, QoS 0", 4, 0),
)


class Service(FakeEdgeManager):
    """Accepts every call; `seen` has the numbers of the others' heartbeats."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self._delay = delay

    def reply_to(self, request: Request) -> Reply:
        if request.operation == "SendHeartbeat" and request.device.startswith("other"):
            self.seen.update(int(metric["Value"]) for metric in request.json["AgentMetrics"])
        return Reply(delay=self._delay)


class ServiceThread(LoopThread):
    """The service on a loop of its own."""

    def __init__(self, delay: float) -> None:
        super().__init__("service")
        self.service = Service(delay)

    async def opened(self) -> None:
        await self.service.open()

    async def closed(self) -> None:
        await self.service.close()


class Others:
    """Devices that behave. `confirmed`: numbers whose PUBACK came."""

    def __init__(self, broker: Mosquitto, users: list[str]) -> None:
        self.confirmed: set[int] = set()
        self.sent = 0
        self._users = users
        self._numbers: list[dict[int, int]] = []
        self._clients: list[mqtt.Client] = []
        for login in broker.add_users(users).values():
            client, numbers = mqtt.Client(CallbackAPIVersion.VERSION2), dict[int, int]()
            client.username_pw_set(login.user, login.password)
            client.max_inflight_messages_set(1000)
            client.on_publish = lambda c, u, mid, *_, numbers=numbers: self.confirmed.add(numbers[mid])
            client.connect(broker.address.host, broker.address.device_port)
            client.loop_start()
            self._clients.append(client)
            self._numbers.append(numbers)

    def send(self, seconds: float) -> None:
        began = time.monotonic()
        while (spent := time.monotonic() - began) < seconds:
            while self.sent < spent * RATE:
                index = self.sent % len(self._users)
                payload = msgpack.packb([LAYOUT, None, [self.sent]])
                info = self._clients[index].publish(f"edge/{self._users[index]}/hb", payload, 1)
                self._numbers[index][info.mid] = self.sent
                self.sent += 1
            time.sleep(0.005)

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
            client.loop_stop()


class Dropped:
    """$SYS/broker/publish/messages/dropped, as the operator reads it."""

    def __init__(self, broker: Mosquitto) -> None:
        at = broker.address
        self.value = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(at.operator.user, at.operator.password)
        self._client.on_message = self._on_message
        self._client.connect(at.host, at.gateway_port)
        self._client.subscribe("$SYS/broker/publish/messages/dropped")
        self._client.loop_start()

    def _on_message(self, client: object, userdata: object, message: mqtt.MQTTMessage) -> None:
        self.value = int(message.payload)

    def wait(self) -> None:
        """Until the broker has published its counters once more."""
        time.sleep(SYS_INTERVAL_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def run(case: Case, seconds: float) -> list[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Mosquitto(folder, mosquitto_binary() or "mosquitto"))
        at, broker_pid = broker.address, broker._process.process.pid
        loud = broker.add_users([f"fleet-a/loud-{number}" for number in range(case.connections)])
        others = Others(broker, [f"fleet-a/other-{number}" for number in range(OTHERS)])
        stack.callback(others.close)
        dropped = Dropped(broker)
        stack.callback(dropped.close)
        service = stack.enter_context(ServiceThread(case.delay)).service
        variables = settings(at, service.url, "fleet-a", folder / "state", device_rate=20)
        gateway = stack.enter_context(GatewayProcess(variables))
        pids = gateway.pid, broker_pid
        before, began = [cpu(pid) for pid in pids], time.monotonic()
        floods = [
            stack.enter_context(Flood(at.host, at.device_port, login, f"edge/{user}/hb", TINY, case.qos))
            for user, login in loud.items()
        ]
        others.send(seconds)
        for flood in floods:
            flood.end()
        for flood in floods:
            flood.join()
        spent = time.monotonic() - began
        used = [(cpu(pid) - was) / spent for pid, was in zip(pids, before, strict=True)]
        rejected = gateway.metrics()["messages_rate_limited_total"]
        last, seen = time.monotonic(), len(service.seen)
        while others.confirmed - service.seen and time.monotonic() - last < SETTLE_S:
            time.sleep(0.05)
            if len(service.seen) > seen:
                last, seen = time.monotonic(), len(service.seen)
        late = last - began - spent
        dropped.wait()
        in_rate = sum(flood.sent for flood in floods) / max(flood.seconds for flood in floods)
        return [
            *(case.name, f"{in_rate:,.0f}", f"{rejected / spent:,.0f}", f"{dropped.value:,}"),
            *(f"{len(others.confirmed):,}", f"{len(others.confirmed - service.seen):,}", f"{max(0.0, late):.1f}"),
            *(f"{used[0]:.0%}", f"{used[1]:.0%}"),
        ]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    table = Table()
    columns = ("case", "flood, messages/s", "rejected/s", "dropped by the broker", "others confirmed", "lost", "late s")
    for column in (*columns, "CPU gateway", "CPU broker"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for case in [CASES[int(number)] for number in sys.argv[2:]] or CASES:
        table.add_row(*run(case, seconds))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
