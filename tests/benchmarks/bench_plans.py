"""Deployment requests answered with plans, beside the loop: `python tests/benchmarks/bench_plans.py [REQUESTS]`.

Each device asks once with `get`; counted is what comes on `plan`, retained as the protocol wants it.
"""

import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import environment, publish_all


def plans_a_second(system: str, count: int) -> float:
    came: list[float] = []
    enough = threading.Event()

    def on_message(client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        came.append(time.monotonic())
        if len(came) == count:
            enough.set()

    with environment() as here:
        here.let_subscribe(system)
        if system == "gateway":
            here.publish_hellos(count)
        with here.client() as client:
            requests = ((f"edge/fleet-a/dev-{number:06d}/get", b"", False) for number in range(count))
            publish_all(client, requests)
            client.on_message = on_message
            client.subscribe("edge/+/+/plan", qos=0)
            with here.reader(system):
                enough.wait(120)
    return (len(came) - 1) / (came[-1] - came[0])


def main(count: int) -> None:
    table = Table(title="deployment plans pushed")
    for column in ("system", "plans/s", "ratio"):
        table.add_column(column, justify="left" if column == "system" else "right")
    base = 0.0
    for system, share in (("loop", 0.3), ("gateway", 1.0)):
        rate = plans_a_second(system, int(count * share))
        base = base or rate
        table.add_row(system, f"{rate:,.0f}", f"{rate / base:.1f} x")
    Console(width=120).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
