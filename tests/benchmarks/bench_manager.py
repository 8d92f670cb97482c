"""A manager's rates over HTTP: `python tests/benchmarks/bench_manager.py [--beside CHECKOUT] [--only heartbeats,...]`.

Compared are systems: a checkout, over SQLite or PostgreSQL, in so many processes. A checkout whose `serve` has
`--power-safe` runs without it and with it. Rounds go from system to system; the ratio of each figure is taken to the
first system's in the same round. On a machine that does other things the CPU of a call says more than the rate does.
Nothing but loopback is used, and all that is started is ended.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.demo.brokers.address import free_ports
from tests.benchmarks import environment
from tests.benchmarks.console_viewers import looking
from tests.benchmarks.environment import ROOT, TAG, Environment, cpu, megabytes, publish_all
from tests.benchmarks.manager_load import Job, Seen
from tests.benchmarks.manager_systems import (
    ACCESS,
    SECRET,
    Checkout,
    Loader,
    Manager,
    System,
    loader,
    manager,
    responder,
    systems,
)
from tests.support.process_memory import resident

METRICS = 5
"""Of one heartbeat."""
WARM_S = 0.3
SAMPLE = 20_000
"""Of a million devices so many call, evenly spread. Before it counts each has fetched its deployment, and sent a
heartbeat: both make rows at first."""
COMMANDS = 20_000
"""Devices of which the commands tell."""
WAITING = 30_000
"""Heartbeats that wait in the broker for gateway and manager together."""
HISTORY_DEVICES = 10
HISTORY_STEP_S = 300.0
WEEK_S = 7 * 86_400.0
STALLED_S = 20.0
"""Without one more heartbeat, gateway and manager will not come to the end."""
LOADER_FULL = 0.8
"""Of a core; a loader that takes more is perhaps what is measured."""
ROLLOUT_S = 600.0
LIMIT_S = 20.0
"""A command that takes longer is killed; its figure is infinite."""
STAGE: dict[str, object] = {"EdgeDeploymentPlanName": "plan", "StageName": "tenth"}
PAGE_TIMES = 5
VIEWERS = 100
CONTROL_RATE = 500.0
"""Heartbeats a second beside calls of the control plane."""
ACCEPTED = "edge_gateway_heartbeats_accepted_total"

Figures = dict[str, float]
"""What one run of one system showed, by its name. A name says its unit."""
Rounds = dict[str, list[dict[System, Figures]]]
"""Part -> what each system showed in each round."""


@dataclass(frozen=True)
class Bench:
    """What all parts take; the fields are the options of the same names."""

    load: Loader
    folder: Path | None
    seconds: float
    devices: int
    signed: bool
    postgres_pid: int

    def calls(self, target: Manager, operation: str, **job: object) -> Seen:
        """Raises SystemExit where a call failed: what was measured then means nothing."""
        keys = {"access": ACCESS, "secret": SECRET} if self.signed else {}
        asked = Job(target.ports, operation, target.fleet, **({"seconds": self.seconds} | keys | job))  # type: ignore[arg-type]
        seen = self.load.run(asked)
        if seen.failed:
            raise SystemExit(f"{target.system}: {seen.failed} calls of {operation} failed: {seen.first_error}")
        return seen

    @contextmanager
    def manager(self, system: System) -> Iterator[Manager]:
        """A fresh one, with its tables, which does not run."""
        with manager(system, self.folder, self.signed) as made:
            if made.server and not made.server.pid:
                made.server.pid = self.postgres_pid
            with made.serving():
                pass
            yield made


def counted(
    bench: Bench, target: Manager, operation: str, *, fresh: bool = True, **job: object
) -> tuple[Seen, Figures]:
    """Calls to saturation, and what each took of the processors; with all since the last reading if not `fresh`."""
    server = target.server
    if fresh:
        target.cpu_since()
    written = target.written()
    seen = bench.calls(target, operation, warm=WARM_S, **job)
    used, of_server = target.cpu_since()
    each = 1e6 / seen.all_calls
    found = {
        "calls/s": seen.calls / seen.seconds,
        "p99 ms at full rate": seen.ms[1],
        "CPU us a call": used * each,
        "bytes written a call": (target.written() - written) / seen.all_calls,
    }
    if seen.cpu > LOADER_FULL * seen.seconds:
        warning = f"the loader took {seen.cpu / seen.seconds:.0%} of a core, and may be the limit"
        print(f"{target.system}: {warning}", file=sys.stderr)
    if server and server.pid:
        found["PostgreSQL's CPU us a call"] = of_server * each
    return seen, found


def wait_for_rollout(target: Manager) -> None:
    """Until every device has its deployment."""
    command = [*target.system.checkout.program, "manager", "deployments", target.fleet, "--json", *target.where()]
    until = time.monotonic() + ROLLOUT_S
    while time.monotonic() < until:
        variables = os.environ | target.system.checkout.variables
        page = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True)
        if not any(each["waiting"] for each in json.loads(page.stdout)):
            return
        time.sleep(0.2)
    raise SystemExit(f"{target.system}: not every device had its deployment within {ROLLOUT_S:.0f} s")


def fetched(bench: Bench, target: Manager, devices: int, stride: int = 1) -> None:
    """Every device that has a deployment gets it once: a first fetch writes, and those after it do not."""
    bench.calls(target, "GetDeployments", devices=devices, stride=stride, count=devices)


def rates(bench: Bench, compared: Sequence[System], parts: Sequence[str], rounds: int) -> Rounds:
    """The parts heartbeats, deployments and latency, of 1,000 devices.

    All systems run all the time, and are called in turn: other work of the machine meets each of them alike.
    """
    found: Rounds = {part: [] for part in parts}
    with ExitStack() as stack:
        targets = {system: stack.enter_context(bench.manager(system)) for system in compared}
        for target in targets.values():
            prepare(bench, target)
        sizes, heartbeats = [target.size() for target in targets.values()], dict.fromkeys(compared, 0)
        with ExitStack() as running:
            for target in targets.values():
                running.enter_context(target.serving())
                target.cpu_since()
            for _ in range(rounds):
                seen = {system: one_turn(bench, target, parts) for system, target in targets.items()}
                for part, turns in found.items():
                    turns.append({system: figures[part] for system, (figures, _) in seen.items()})
                heartbeats = {system: count + seen[system][1] for system, count in heartbeats.items()}
        for (system, target), before in zip(targets.items(), sizes, strict=True):
            if "heartbeats" in parts:
                found["heartbeats"][0][system]["bytes kept a call"] = (target.size() - before) / heartbeats[system]
    return found


def prepare(bench: Bench, target: Manager) -> None:
    """1,000 devices, each with a deployment that it fetched, and with the rows of its newest values."""
    target.register(1_000)
    with target.serving():
        target.deploy()
        wait_for_rollout(target)
        fetched(bench, target, 1_000)
        bench.calls(target, "SendHeartbeat", count=1_000)


def one_turn(bench: Bench, target: Manager, parts: Sequence[str]) -> tuple[dict[str, Figures], int]:
    """The figures of each part, and how many heartbeats that took.

    What the manager does of itself while others are called counts to the heartbeats.
    """
    found: dict[str, Figures] = {}
    heartbeats = 0
    if "heartbeats" in parts or "latency" in parts:
        seen, found["heartbeats"] = counted(bench, target, "SendHeartbeat", fresh=False)
        heartbeats = seen.all_calls
    if "latency" in parts:
        half = bench.calls(target, "SendHeartbeat", rate=found["heartbeats"]["calls/s"] / 2, warm=WARM_S)
        heartbeats += half.all_calls
        names = ("p50 ms", "p99 ms", "p99.9 ms")
        found["latency"] = {"calls/s": half.calls / half.seconds} | dict(zip(names, half.ms, strict=True))
    if "deployments" in parts:
        found["deployments"] = counted(bench, target, "GetDeployments")[1]
    target.cpu_since()
    return found, heartbeats


def million(bench: Bench, system: System) -> Figures:
    """1,000 devices and very many, of one checkout: what each call, a start and a command take."""
    found: Figures = {}
    for devices in (1_000, bench.devices):
        sample = min(devices, SAMPLE)
        stride = devices // sample
        with bench.manager(system) as target:
            of = f", {devices:,}"
            found["s to register" + of] = target.register(devices)
            with target.serving():
                target.deploy([f"dev-{number * stride:07d}" for number in range(sample)])
                wait_for_rollout(target)
                fetched(bench, target, sample, stride)
                bench.calls(target, "SendHeartbeat", devices=sample, stride=stride, count=sample)
            with target.serving():
                found["s to start" + of] = target.start_s
                found["MB after the start" + of] = max(megabytes(resident(each.pid)) for each in target.children)
                calls = counted(bench, target, "SendHeartbeat", devices=sample, stride=stride, shuffled=True)[1]
                found["SendHeartbeat/s" + of] = calls["calls/s"]
                found["CPU us a SendHeartbeat" + of] = calls["CPU us a call"]
                calls = counted(bench, target, "GetDeployments", devices=sample, stride=stride, shuffled=True)[1]
                found["GetDeployments/s" + of] = calls["calls/s"]
                found["CPU us a GetDeployments" + of] = calls["CPU us a call"]
                found["MB after the calls" + of] = max(megabytes(resident(each.pid)) for each in target.children)
                found["s of status FLEET --limit 50" + of] = target.command("status", target.fleet, "--limit", "50")
                found["s of status --summary" + of] = target.command("status", "--summary")
                page = metrics_page(target)
                if page is not None:
                    found["s of /metrics" + of] = page
    return found


def control(bench: Bench, system: System) -> Figures:
    """1,000 devices and very many: what the control plane's calls take, and what heartbeats wait meanwhile."""
    found: Figures = {}
    for devices in (1_000, bench.devices):
        of = f", {devices:,}"
        with bench.manager(system) as target:
            target.register(devices)
            with target.serving():
                target.deploy(["dev-0000000"])
                bench.calls(target, "SendHeartbeat", devices=devices, count=devices)
                found |= {name + of: value for name, value in control_calls(target).items()}
                found["s of status --state silent" + of] = target.command(
                    "status", target.fleet, "--state", "silent", "--limit", "50", limit=LIMIT_S
                )
                load = {"devices": min(devices, SAMPLE), "rate": CONTROL_RATE}
                found["p99 ms of SendHeartbeat, nothing else" + of] = bench.calls(target, "SendHeartbeat", **load).ms[1]
                with repeated(lambda: call(target, "ListStageDevices", **STAGE)):
                    seen = bench.calls(target, "SendHeartbeat", **load)
                found["p99 ms of SendHeartbeat, while a stage is chosen" + of] = seen.ms[1]
                with repeated(lambda: call(target, "GetDeviceFleetReport", DeviceFleetName=target.fleet)):
                    seen = bench.calls(target, "SendHeartbeat", **load)
                found["p99 ms of SendHeartbeat, while reports are made" + of] = seen.ms[1]
    return found


def console(bench: Bench, system: System) -> Figures:
    """1,000 devices and very many: what each page takes, and what a hundred viewers cost the devices."""
    found: Figures = {}
    for devices in (1_000, bench.devices):
        of = f", {devices:,}"
        with bench.manager(system) as target:
            target.register(devices)
            with target.serving():
                if not target.consoles:
                    return {}
                target.deploy()
                wait_for_rollout(target)
                bench.calls(target, "SendHeartbeat", devices=devices, count=devices)
                for name, path in pages_of(target).items():
                    found[f"ms of {name}{of}"] = statistics.median(page_ms(target, path) for _ in range(PAGE_TIMES))
                sample = min(devices, SAMPLE)
                counted(bench, target, "SendHeartbeat", devices=sample)
                figures = counted(bench, target, "SendHeartbeat", devices=sample)[1]
                found["SendHeartbeat/s, nobody looks" + of] = figures["calls/s"]
                found["CPU us a SendHeartbeat, nobody looks" + of] = figures["CPU us a call"]
                watched = ["/", f"/devices?fleet={target.fleet}", "/rollouts", f"/devices/{target.fleet}/dev-0000000"]
                with looking(target.consoles[0], watched, VIEWERS):
                    figures = counted(bench, target, "SendHeartbeat", devices=sample)[1]
                found[f"SendHeartbeat/s, {VIEWERS} viewers{of}"] = figures["calls/s"]
                found[f"CPU us a SendHeartbeat, {VIEWERS} viewers{of}"] = figures["CPU us a call"]
    return found


def pages_of(target: Manager) -> dict[str, str]:
    fleet = target.fleet
    return {
        "the overview": "/",
        "devices": f"/devices?fleet={fleet}",
        "devices of all fleets": "/devices",
        "devices that are silent": "/devices?state=silent",
        "devices by a part of the name": "/devices?name=99999",
        "a device": f"/devices/{fleet}/dev-0000000",
        "rollouts": "/rollouts",
        "a rollout": f"/rollouts/{fleet}/wake-word-1",
        "devices of a rollout": f"/rollouts/{fleet}/wake-word-1?devices=pending",
        "models": "/models",
        "audit": "/audit",
        "alerts": "/alerts",
    }


def page_ms(target: Manager, path: str) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(target.consoles[0] + path, timeout=60) as answer:
        answer.read()
    return (time.monotonic() - began) * 1e3


def control_calls(target: Manager) -> Figures:
    fleet: dict[str, object] = {"DeviceFleetName": target.fleet}
    [job] = call(target, "ListEdgePackagingJobs")["EdgePackagingJobSummaries"]
    tenth = {"DeviceSubsetType": "PERCENTAGE", "Percentage": 10}
    stages = [
        {"StageName": STAGE["StageName"], "DeviceSelectionConfig": tenth},
        {
            "StageName": "named",
            "DeviceSelectionConfig": {"DeviceSubsetType": "NAMECONTAINS", "DeviceNameContains": "7"},
        },
    ]
    models = [{"ModelHandle": "wake-word", "EdgePackagingJobName": job["EdgePackagingJobName"]}]
    plan = {"EdgeDeploymentPlanName": STAGE["EdgeDeploymentPlanName"], "ModelConfigs": models, "Stages": stages}
    call(target, "CreateEdgeDeploymentPlan", **fleet, **plan)
    first = call(target, "ListStageDevices", **STAGE)
    asked: list[tuple[str, str, dict[str, object]]] = [
        ("ListStageDevices of 10%, first page", "ListStageDevices", STAGE),
        ("ListStageDevices of 10%, second page", "ListStageDevices", {**STAGE, "NextToken": first.get("NextToken")}),
        ("ListStageDevices by a part of the name", "ListStageDevices", {**STAGE, "StageName": "named"}),
        ("GetDeviceFleetReport", "GetDeviceFleetReport", fleet),
        ("GetDeviceFleetReport, again", "GetDeviceFleetReport", fleet),
        ("ListDevices", "ListDevices", fleet),
        ("ListDevices heard since 1970", "ListDevices", fleet | {"LatestHeartbeatAfter": 0}),
        ("ListDevices heard since 2100", "ListDevices", fleet | {"LatestHeartbeatAfter": 4102444800}),
        ("ListDevices with a model", "ListDevices", fleet | {"ModelName": "wake-word"}),
        ("ListDevices with a model that there is not", "ListDevices", fleet | {"ModelName": "none"}),
        ("DescribeDevice", "DescribeDevice", fleet | {"DeviceName": "dev-0000500"}),
        ("ListEdgeDeploymentPlans", "ListEdgeDeploymentPlans", {}),
    ]
    found: Figures = {}
    for name, operation, members in asked:
        began = time.monotonic()
        call(target, operation, **{each: value for each, value in members.items() if value is not None})
        found[f"ms of {name}"] = (time.monotonic() - began) * 1e3
    return found


def call(target: Manager, operation: str, **members: object) -> dict[str, Any]:
    """The output of one call of the control plane, which is not signed."""
    head = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    asked = urllib.request.Request(f"http://127.0.0.1:{target.ports[0]}/", json.dumps(members).encode(), head)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        output: dict[str, Any] = json.load(answer)
        return output


@contextmanager
def repeated(work: Callable[[], object]) -> Iterator[None]:
    """Does it again and again, in a thread, until the context ends. Raises what it raised."""
    ends = threading.Event()

    def run() -> None:
        while not ends.is_set():
            work()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run)
        try:
            yield
        finally:
            ends.set()
        running.result()


def metrics_page(target: Manager) -> float | None:
    """Seconds of `GET /metrics`; None where the manager has none."""
    began = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{target.ports[0]}/metrics", timeout=LIMIT_S) as page:
            page.read()
    except urllib.error.HTTPError:
        return None
    return time.monotonic() - began


def commands(bench: Bench, system: System) -> Figures:
    """How long the commands take that tell of each device."""
    with bench.manager(system) as target:
        target.register(COMMANDS)
        with target.serving():
            target.deploy()
            wait_for_rollout(target)
            fetched(bench, target, COMMANDS)
            bench.calls(target, "SendHeartbeat", devices=COMMANDS, count=COMMANDS)
            told = (("devices",), ("status",), ("status", "--json"), ("deployments",), ("deployments", "--devices"))
            return {
                f"s of {' '.join(words)}, {COMMANDS:,}": target.command(*words, target.fleet, limit=LIMIT_S)
                for words in told
            }


def history(bench: Bench, system: System) -> Figures:
    """A week of samples of some devices, as a backlog brings them; what they take on the disk, and of time.

    Still to come: there is no command that reads a series. `read_series` is the place of its time.
    """
    beats = int(WEEK_S / HISTORY_STEP_S) * HISTORY_DEVICES
    job: dict[str, object] = {"devices": HISTORY_DEVICES, "connections": HISTORY_DEVICES, "count": beats}
    job |= {"start": time.time() - WEEK_S, "step": HISTORY_STEP_S}
    with bench.manager(system) as target:
        target.register(HISTORY_DEVICES)
        before = target.size()
        with target.serving():
            used = target.cpu()
            seen = bench.calls(target, "SendHeartbeat", **job)
            compacted(target)
            samples = seen.calls * METRICS
            found = {"samples/s": samples / seen.seconds, "CPU us a sample": (target.cpu() - used) / samples * 1e6}
            found |= read_series(target)
        return found | {"bytes kept a sample": (target.size() - before) / samples}


def compacted(target: Manager) -> None:
    """Until the rows of single heartbeats are packed. Today's managers have no history, so there is nothing to do."""


def read_series(target: Manager) -> Figures:
    """Seconds of a week's series of one metric, whole and downsampled. Empty: no manager here can read one yet."""
    return {}


def gateway(bench: Bench, system: System, devices: int, merge: int) -> Figures:
    """Gateway and manager of one checkout to saturation; the heartbeats wait in the broker, each of another time."""
    checkout = system.checkout
    with bench.manager(system) as target, environment.environment() as fresh:
        here = replace(fresh, gateway=checkout.program)
        names = [f"dev-{number:06d}" for number in range(devices)]
        target.command("register", "fleet-a", *names)
        with target.serving():
            (port,) = free_ports(1)
            settings = checkout.variables | {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{target.ports[0]}",
                "AWS_ACCESS_KEY_ID": ACCESS,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "GATEWAY_HTTP_PORT": str(port),
                "GATEWAY_MERGE_HEARTBEATS": str(merge),
                "GATEWAY_DEVICE_RATE": "100000",
            }
            here.let_subscribe("gateway", **settings)
            here.publish_hellos(devices)
            with here.client() as client:
                publish_all(client, waiting_heartbeats(devices))
            with here.reader("gateway", **settings) as reader:
                return drained(here, target, reader, port)


def waiting_heartbeats(devices: int) -> Iterator[tuple[str, bytes, bool]]:
    for number in range(WAITING):
        after, value = number // devices, number % 700
        beat = msgpack.packb([TAG, after, [number, -61 - value % 20, 365 + value % 30], [[4, 2, [12, 50]]]])
        yield f"edge/fleet-a/dev-{number % devices:06d}/hb", beat, False


def drained(here: Environment, target: Manager, reader: "subprocess.Popen[str]", port: int) -> Figures:
    """Until the manager has accepted all, by the gateway's metrics, which are read ten times a second."""
    first, before, began = accepted(port), 0.0, time.monotonic()
    done, now, last = first, began, began
    while done < WAITING and now - last < STALLED_S:
        time.sleep(0.1)
        found, now = accepted(port), time.monotonic()
        if not first and found:
            first, began, before = found, now, target.cpu() + cpu(reader.pid)
        last = now if found > done else last
        done = found
    if done < WAITING:
        raise SystemExit(f"{target.system}: of {WAITING} heartbeats {done:.0f} were accepted")
    beats = done - first
    each = 1e6 / beats
    return {"heartbeats/s": beats / (now - began), "CPU us each": (target.cpu() + cpu(reader.pid) - before) * each}


def accepted(port: int) -> float:
    """Heartbeats that the gateway counts as accepted; 0 while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
    except urllib.error.URLError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith(ACCEPTED))


def together(bench: Bench, system: System) -> Figures:
    cases = (("merged, 200 devices", 200, 100), ("none merged, 2,000 devices", 2_000, 1))
    return {
        f"{name}, {case}": value
        for case, devices, merge in cases
        for name, value in gateway(bench, system, devices, merge).items()
    }


RATES = ("heartbeats", "deployments", "latency")
RATES_ROUNDS = 7
OTHERS: dict[str, tuple[Callable[[Bench, System], Figures], int]] = {
    "gateway": (together, 3),
    "commands": (commands, 1),
    "history": (history, 1),
    "million": (million, 1),
    "control": (control, 1),
    "console": (console, 1),
}
"""What measures a part, with fresh managers in each round, and how many rounds there are if nothing is said."""
AS_IT_COMES = ("commands", "million", "control", "console")
"""Parts in which no system has options: `--power-safe` tells nothing there."""


def measured(bench: Bench, compared: Sequence[System], parts: Sequence[str], rounds: int) -> Rounds:
    """`rounds` 0: each part has as many as it has by default."""
    chosen = [part for part in parts if part in RATES]
    found = rates(bench, compared, chosen, rounds or RATES_ROUNDS) if chosen else {}
    for part in parts:
        if part in OTHERS:
            measure, usual = OTHERS[part]
            own = [system for system in compared if not (part in AS_IT_COMES and system.options)]
            found[part] = [{system: measure(bench, system) for system in own} for _ in range(rounds or usual)]
    return found


def capacity(load: Loader, signed: bool) -> Seen:
    """The loader against what answers at once."""
    with responder() as port:
        keys = {"access": ACCESS, "secret": SECRET} if signed else {}
        return load.run(Job([port], "SendHeartbeat", seconds=2.0, warm=0.5, **keys))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """One figure of one system in all rounds, and its ratios to the first system's in the same rounds."""

    part: str
    figure: str
    system: str
    values: list[float]
    ratios: list[float]

    def cells(self) -> list[str]:
        """Median, spread, and the same of the ratio."""
        cells = [shown(statistics.median(self.values)), f"{shown(min(self.values))} to {shown(max(self.values))}"]
        if not self.ratios:
            return [*cells, "", ""]
        middle, least, most = (f"{of(self.ratios):.2f}" for of in (statistics.median, min, max))
        return [*cells, f"{middle} x", f"{least} to {most}"]


def shown(value: float) -> str:
    if value == float("inf"):
        return f"> {LIMIT_S:.0f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rows(found: Rounds) -> Iterator[Row]:
    """Of the figures that a system has; a ratio where the first system has it too, and neither is 0 or infinite."""
    for part, rounds in found.items():
        first, *_ = rounds[0]
        for name in {name: None for figures in rounds[0].values() for name in figures}:
            for system in rounds[0]:
                pairs = [(each[system].get(name), each[first].get(name)) for each in rounds]
                values = [value for value, _ in pairs if value is not None]
                usable = [value / of for value, of in pairs if value and of and max(value, of) < float("inf")]
                if values:
                    yield Row(part, name, str(system), values, usable)


def show(found: list[Row], about: dict[str, str]) -> None:
    head = Table(title="where")
    for column in ("what", "is"):
        head.add_column(column)
    for name, value in about.items():
        head.add_row(name, value)
    table = Table(title="medians; a ratio is to the first system, round by round")
    for column in ("part", "figure", "system", "median", "spread", "ratio", "its spread"):
        table.add_column(column, justify="left" if column in ("part", "figure", "system") else "right")
    last = ("", "")
    for row in found:
        here = (row.part, row.figure)
        if here != last and last[0]:
            table.add_section()
        table.add_row(*(["", ""] if here == last else here), row.system, *row.cells())
        last = here
    console = Console(width=150)
    console.print(head, table)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parts = (*RATES, *OTHERS)
    parser = argparse.ArgumentParser(prog="bench_manager.py", description="A manager's rates, beside another checkout.")
    parser.add_argument("--beside", type=Path, help="another checkout, which comes first")
    parser.add_argument("--python", default="", help="its interpreter, where it has no .venv")
    parser.add_argument(
        "--database", action="append", help="sqlite, embedded (a PostgreSQL of a wheel) or a URL; may be repeated"
    )
    parser.add_argument("--processes", default="1", help="of one PostgreSQL: 1,2,4")
    parser.add_argument("--postgres-pid", type=int, default=0, help="of the server of that URL, for its CPU")
    parser.add_argument("--devices", type=int, default=1_000_000, help="of the parts million, control and console")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each rate")
    parser.add_argument("--rounds", type=int, default=0, help="else as many as suit each part")
    parser.add_argument("--only", default="heartbeats,deployments,latency", help=",".join(parts))
    parser.add_argument("--signed", action="store_true", help="calls are signed, and signatures checked")
    parser.add_argument("--folder", type=Path, help="where data are kept; should be on the disk that is meant")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    unknown = set(given.only.split(",")) - set(parts)
    if unknown:
        parser.error(f"--only knows {', '.join(parts)}, not {', '.join(sorted(unknown))}")
    return given


def main(words: Sequence[str]) -> None:
    given = arguments(words)
    checkouts = [Checkout(given.beside.resolve(), given.python)] if given.beside else []
    counts = [int(count) for count in given.processes.split(",")]
    compared = systems([*checkouts, Checkout(ROOT)], given.database or ["sqlite"], counts)
    if not compared:
        raise SystemExit("no checkout here has that database")
    about = environment.machine(given.folder or Path(tempfile.gettempdir()))
    parts = given.only.split(",")
    with loader() as load:
        alone = capacity(load, given.signed)
        about["loader alone"] = (
            f"{alone.calls / alone.seconds:,.0f} calls/s, {alone.cpu / alone.all_calls * 1e6:.0f} us"
        )
        bench = Bench(load, given.folder, given.seconds, given.devices, given.signed, given.postgres_pid)
        found = list(rows(measured(bench, compared, parts, given.rounds)))
    if given.json:
        print(json.dumps({"environment": about, "figures": [vars(row) for row in found]}))
    else:
        show(found, about)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that all that was started is ended
    main(sys.argv[1:])
