"""Model files, each case beside its baseline in one run: `python tests/benchmarks/bench_files.py [ROUNDS]`.

The devices (file_readers.py) read as the SDK does: a window of 4 KB, the next one when all of it came. The baseline of
the downloads is one paho client that publishes the same blocks through the same broker to the same devices
(baseline_publisher.py); that of the heartbeats are the same heartbeats without downloads (heartbeat_sender.py).
"""

import hashlib
import json
import os
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import Environment, environment, module, process
from tests.benchmarks.file_readers import WINDOW, Fleet

RATE = 100
"""Heartbeats a second."""
BEATS = 800
"""Heartbeats in each measurement."""
READERS = 50
"""Devices that download meanwhile, one file after another, each as fast as it can."""
LENGTH = 992
"""Bytes of a block, for a device that takes payloads of 1,024."""


@dataclass(frozen=True)
class Case:
    """`devices` read a file of `size` bytes in blocks of `length`."""

    name: str
    devices: int
    size: int
    length: int


CASES = (Case("200 KB, one device", 1, 200_000, 512), Case("80 KB, 1,000 devices", 1000, 80_824, LENGTH))


@contextmanager
def fleet(here: Environment, devices: int, length: int, repeats: bool = False) -> Iterator[Fleet]:
    made = Fleet(here.port, devices, min(4, devices), length, WINDOW // length, repeats)
    try:
        yield made
    finally:
        made.close()


def published(here: Environment, case: Case, content: bytes) -> float:
    """Seconds until all have it of the publisher."""
    arguments = map(str, (here.port, here.folder / "model", case.length, case.devices, min(4, case.devices)))
    with (
        fleet(here, case.devices, case.length) as devices,
        process(*module("baseline_publisher"), *arguments) as publisher,
    ):
        assert publisher.stdout is not None
        assert publisher.stdin is not None
        publisher.stdout.readline()
        print(file=publisher.stdin, flush=True)
        seconds = devices.run()
        check(devices, content)
    return seconds


def downloaded(here: Environment, case: Case, content: bytes) -> float:
    """Seconds until all have it of the gateway, which has their plans and no file."""
    with here.reader("gateway"), fleet(here, case.devices, case.length) as devices:
        devices.get_plans()
        devices.begin()
        seconds = devices.run()
        check(devices, content)
    return seconds


def check(devices: Fleet, content: bytes) -> None:
    whole = devices.whole(hashlib.sha1(content).digest())
    if whole != len(devices.devices):
        raise SystemExit(f"{whole} of {len(devices.devices)} devices have the file")


def run(case: Case, rounds: int, table: Table) -> None:
    bases, ours, gets = [], [], set()
    for _ in range(rounds):
        content = os.urandom(case.size)
        with environment(model=content) as here:
            here.let_subscribe("gateway")
            bases.append(published(here, case, content))
            ours.append(downloaded(here, case, content))
            gets.add(here.service.ask("count")["gets"])
    base, our = statistics.median(bases), statistics.median(ours)
    ratio = statistics.median(a / b for a, b in zip(ours, bases, strict=True))
    remark = f"{max(gets):.0f} S3 GET"
    table.add_row(case.name, "seconds", f"{base:.2f}", f"{our:.2f}", f"{ratio:.2f}", remark)


class Beats:
    """A process that sends heartbeats and says how long each waited for its ack."""

    def __init__(self, child: object) -> None:
        self._child = child

    def p99(self, count: int = BEATS) -> float:
        """Milliseconds."""
        print(RATE, count, file=self._child.stdin, flush=True)  # type: ignore[attr-defined]
        waits = sorted(json.loads(self._child.stdout.readline()))  # type: ignore[attr-defined]
        return float(waits[len(waits) * 99 // 100] * 1000)


def beside_downloads(rounds: int, table: Table) -> None:
    alone, busy, blocks = [], [], []
    with environment(model=os.urandom(80_824)) as here:
        here.let_subscribe("gateway")
        with (
            here.reader("gateway"),
            process(*module("heartbeat_sender"), str(here.port)) as child,
            fleet(here, READERS, LENGTH, repeats=True) as devices,
        ):
            beats = Beats(child)
            beats.p99(300)  # warm, and every device registered
            devices.get_plans()
            for _ in range(rounds):
                alone.append(beats.p99())
                before = devices.received
                reading = threading.Thread(target=devices.run, args=(BEATS / RATE,))
                devices.begin()
                reading.start()
                busy.append(beats.p99())
                reading.join()
                blocks.append((devices.received - before) / (BEATS / RATE))
    ratio = statistics.median(a / b for a, b in zip(busy, alone, strict=True))
    remark = f"{statistics.median(blocks):,.0f} blocks/s meanwhile"
    figures = f"{statistics.median(alone):.1f}", f"{statistics.median(busy):.1f}", f"{ratio:.2f}"
    table.add_row(f"heartbeats, {READERS} downloads", "p99, ms", *figures, remark)


def main(rounds: int) -> None:
    table = Table(title=f"model files: medians of {rounds}, in one run")
    for column in ("case", "what", "baseline", "gateway", "ratio", ""):
        table.add_column(column, justify="right" if column in ("baseline", "gateway", "ratio") else "left")
    for case in CASES:
        run(case, rounds, table)
    beside_downloads(rounds, table)
    Console(width=120).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
