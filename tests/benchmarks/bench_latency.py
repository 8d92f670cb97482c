"""Publish to POST, heartbeats paced: `python tests/benchmarks/bench_latency.py [SECONDS]`.

The loop beside the gateway at 200 a second; at 1,000, which the loop cannot do, the gateway alone.
"""

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import MARKER, environment, heartbeat

DEVICES = 200


def waits(system: str, rate: int, seconds: float) -> list[float]:
    """Milliseconds between each publication and its POST, sorted."""
    with environment() as here:
        here.let_subscribe(system)
        here.publish_hellos(DEVICES)
        here.fill(DEVICES, DEVICES, system == "loop")
        sent = {}
        with here.reader(system), here.client() as client:
            here.service.wait_for(DEVICES)  # warm, and every device known
            began = time.monotonic()
            for index in range(int(rate * seconds)):
                number = DEVICES + index
                topic, payload = heartbeat(number, DEVICES, system == "loop")
                pause = began + index / rate - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                sent[str(MARKER + number)] = time.monotonic()
                client.publish(topic, payload, 1)
            here.service.wait_for(DEVICES + len(sent))
            came = here.service.ask("times")
    return sorted((came[marker] - when) * 1000 for marker, when in sent.items() if marker in came)


def main(seconds: float) -> None:
    table = Table(title="milliseconds from publish to POST")
    for column in ("heartbeats/s", "system", "p50", "ratio", "p99", "ratio", "heartbeats"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for rate, systems in ((200, ("loop", "gateway")), (1000, ("gateway",))):
        base: tuple[float, float] | None = None
        for system in systems:
            found = waits(system, rate, seconds)
            p50, p99 = found[len(found) // 2], found[len(found) * 99 // 100]
            base = base or (p50, p99)
            shown = (f"{p50:.2f}", f"{p50 / base[0]:.2f}", f"{p99:.2f}", f"{p99 / base[1]:.2f}")
            table.add_row(f"{rate:,}", system, *shown, f"{len(found):,}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
