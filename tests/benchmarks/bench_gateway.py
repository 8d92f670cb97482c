"""The gateway beside the paho+boto3 loop, to saturation: `python tests/benchmarks/bench_gateway.py [ROUNDS]`.

The heartbeats wait in the broker, in the session of the one who will read them; then that one starts, and a counting
Edge Manager says when each came. So nobody publishes while something is measured. `--check` runs one round of the
first case and warns where its ratio is far below the one that is kept (reference.json).
"""

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.environment import Environment, cpu, environment, megabytes
from tests.support.process_memory import peak

REFERENCE = Path(__file__).parent / "reference.json"
FAR_BELOW = 0.7
"""A machine that does other things too moves a ratio by a fifth; less than this share of the kept one is a warning."""


@dataclass(frozen=True)
class Case:
    """So many heartbeats of so many devices; the service answers after `delay` seconds, and after an `outage` where
    there is one. `gateways` share the work by fleets. `merge`: heartbeats in one call at most."""

    name: str
    devices: int
    gateway: int
    loop: int
    delay: float = 0.0
    outage: bool = False
    gateways: int = 1
    merge: int = 100


AS_IT_COMES = Case("2,000 devices", 2000, 30_000, 3_000)
ONE_BY_ONE = Case("2,000 devices, none merged", 2000, 30_000, 3_000, merge=1)
CASES = (
    AS_IT_COMES,
    ONE_BY_ONE,
    Case("200 devices", 200, 30_000, 3_000),
    Case("20 ms a call", 2000, 20_000, 300, delay=0.02),
    Case("back after an outage", 2000, 30_000, 3_000, outage=True),
    Case("two gateways, none merged", 2000, 30_000, 0, merge=1, gateways=2),  # beside one gateway
)


@dataclass(frozen=True)
class Seen:
    """What one run showed; `cpu` in seconds of all readers, `memory` in MB of the first."""

    heartbeats: int
    posts: int
    seconds: float
    cpu: float
    memory: float

    @property
    def rate(self) -> float:
        return self.heartbeats / self.seconds if self.seconds else 0.0

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU a heartbeat."""
        return self.cpu / max(1, self.heartbeats) * 1e6


def run(case: Case, system: str) -> Seen:
    count = case.gateway if system == "gateway" else case.loop
    fleets = [f"fleet-{letter}" for letter in "ab"[: case.gateways]]
    with environment(case.delay) as here, ExitStack() as stack:
        own = {
            fleet: {"GATEWAY_FLEETS": fleet, "GATEWAY_STATE_DIR": f"{here.folder}/{fleet}"}
            | {"GATEWAY_MERGE_HEARTBEATS": str(case.merge)}
            for fleet in fleets
        }
        for index, fleet in enumerate(fleets):
            here.let_subscribe(system, fleet, **own[fleet])
            here.publish_hellos(case.devices, fleet)
            each = count // len(fleets)
            here.fill(each, case.devices, system == "loop", fleet, first=index * each)
        if case.outage:
            here.service.ask("fail")
        readers = [stack.enter_context(here.reader(system, **own[fleet])) for fleet in fleets]
        if case.outage:
            wait_for_failures(here, readers[0])
            here.service.ask("work")
        return drained(here, readers, count)


def wait_for_failures(here: Environment, reader: subprocess.Popen[str]) -> None:
    """Until the reader has begun to work, and three seconds more of an outage."""
    began = cpu(reader.pid)
    here.service.wait_for(1, within=3.0 if cpu(reader.pid) > began else 6.0)


def drained(here: Environment, readers: list[subprocess.Popen[str]], count: int) -> Seen:
    """Until all heartbeats came. CPU is counted from the first one on, and what a start costs is not."""
    early = here.service.wait_for(1)
    before = [cpu(reader.pid) for reader in readers]
    found = here.service.wait_for(count)
    used = sum(cpu(reader.pid) - was for reader, was in zip(readers, before, strict=True))
    heartbeats = int(found["heartbeats"])
    share = heartbeats / max(1, heartbeats - early["heartbeats"])
    return Seen(heartbeats, int(found["posts"]), found["seconds"], used * share, megabytes(peak(readers[0].pid)))


def measured(case: Case, rounds: int) -> dict[str, list[Seen]]:
    systems = ("loop", "gateway") if case.loop else ("gateway",)
    return {system: [run(case, system) for _ in range(rounds)] for system in systems}


def median(runs: list[Seen], what: str) -> float:
    return statistics.median(float(getattr(each, what)) for each in runs)


def row(case: Case, system: str, runs: list[Seen], base: list[Seen]) -> list[str]:
    """`base`: what the ratios are taken against; there are none where it brought nothing through."""
    rate, each = median(runs, "rate"), median(runs, "cpu_each")
    base_rate, base_each = median(base, "rate"), median(base, "cpu_each")
    wanted = case.gateway if system == "gateway" else case.loop
    return [
        *(case.name, system, f"{rate:,.0f}", f"{rate / base_rate:.1f} x" if base_rate else "-"),
        *(f"{each:.0f}", f"1/{base_each / each:.2f}" if base_rate else "-", f"{runs[-1].posts:,}"),
        *(f"{max(one.memory for one in runs):.0f}", str(sum(wanted - one.heartbeats for one in runs))),
    ]


def check() -> None:
    """A warning, never a failure: CI's machines have other work too."""
    seen = measured(AS_IT_COMES, 1)
    ratio, kept = seen["gateway"][0].rate / seen["loop"][0].rate, json.loads(REFERENCE.read_text())[AS_IT_COMES.name]
    word = "WARNING: far below" if ratio < FAR_BELOW * kept else "beside"
    print(f"heartbeats/s, {AS_IT_COMES.name}: {ratio:.1f} x the paho+boto3 loop, {word} the kept {kept:.1f} x")


def show(rounds: int) -> None:
    table = Table(title=f"medians of {rounds}, in one run", caption="loop: paho and boto3 in one callback")
    for column in ("case", "system", "heartbeats/s", "ratio", "CPU us each", "ratio", "calls", "peak MB", "lost"):
        table.add_column(column, justify="left" if column in ("case", "system") else "right")
    one_gateway: list[Seen] = []
    for case in CASES:
        seen = measured(case, rounds)
        one_gateway = one_gateway or (seen["gateway"] if case is ONE_BY_ONE else [])
        for system, runs in seen.items():
            table.add_row(*row(case, system, runs, seen.get("loop", one_gateway)))
    Console(width=120).print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        show(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
