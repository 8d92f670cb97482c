"""What idle devices cost in memory: `python tests/benchmarks/bench_memory.py [DEVICES ...]` (10,000 and 100,000).

Each device has published its hello (one firmware for all), and one heartbeat of it was accepted. The loop, which keeps
nothing of a device, is beside it as what Python, paho and boto3 take.
"""

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import environment, megabytes
from tests.support.process_memory import resident

AT_ONCE = 1_000


def grown(system: str, devices: int) -> tuple[float, float]:
    """Resident MB before the first device, and after the last."""
    full = system == "loop"
    with environment() as here:
        here.let_subscribe(system)
        with here.reader(system) as reader:
            here.fill(1, 1, full)
            here.service.wait_for(1)
            before = megabytes(resident(reader.pid))
            if not full:
                here.publish_hellos(devices)
            for first in range(0, devices, AT_ONCE):  # none waits for another, so there never is a backlog
                here.fill(min(AT_ONCE, devices - first), devices, full, first=first)
                here.service.wait_for(min(first + AT_ONCE, devices))
            time.sleep(1)
            return before, megabytes(resident(reader.pid))


def main(sizes: list[int]) -> None:
    table = Table(title="resident memory, idle devices")
    for column in ("devices", "system", "MB before", "MB after", "bytes a device"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for devices, system in [(1_000, "loop"), *((size, "gateway") for size in sizes)]:
        before, after = grown(system, devices)
        each = (after - before) * 2**20 / devices
        table.add_row(f"{devices:,}", system, f"{before:.0f}", f"{after:.0f}", f"{each:,.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [10_000, 100_000])
