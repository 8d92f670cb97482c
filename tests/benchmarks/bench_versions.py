"""A service that says versions of devices, beside one that does not: `python tests/benchmarks/bench_versions.py`.

The gateway's core with clocks set by hand: an hour of devices that send heartbeats, of which each gets deployments at
random times. Counted are the calls, and how late a device has its plan. Nothing is sent.
"""

import random
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.core import PublishPlan
from gateway.core.effects import Effect
from gateway.core.engine import Engine, Policy
from gateway.protocol import (
    Accepted,
    Call,
    Device,
    DeviceVersion,
    GetDeployments,
    Heartbeat,
    HelloRecord,
    Instant,
    Registration,
    SendHeartbeat,
)
from tests.support.engine import EPOCH, HELLO, Token, calls, of_type, plan

HOUR = 3600.0
DEVICES = 50
DEPLOYMENTS = 3
"""Of each device, in the hour."""
SEED = 17


@dataclass
class Assigned:
    """A device in the service and at its end. `due`: when the newest deployment was made; None: the device has it."""

    device: Device
    number: int = 1
    have: int = 0
    due: float | None = None
    beats: int = 0


@dataclass
class Site:
    """An engine, its devices, and what was counted. `late`: (heartbeats, seconds) of each plan."""

    versions: bool
    engine: Engine = field(default_factory=lambda: Engine(Policy()))
    now: Instant = field(default_factory=lambda: Instant(EPOCH, 0.0))
    asked: Counter[str] = field(default_factory=Counter)
    late: list[tuple[int, float]] = field(default_factory=list)

    def beat(self, assigned: Assigned) -> None:
        assigned.beats += 1
        message = Heartbeat(HELLO.tag, int(self.now.mono), (1, 2), have=assigned.have)
        effects: list[Effect] = self.engine.receive(assigned.device, message, Token(0), self.now)
        while effects:
            for published in of_type(effects, PublishPlan):
                assigned.have = published.digest
                if assigned.due is not None:
                    self.late.append((assigned.beats, self.now.mono - assigned.due))
                assigned.due = None
            answers = [self.answer(call, assigned) for call in calls(effects)]
            effects = [
                effect
                for answer in answers
                for effect in self.engine.resolve(assigned.device, Accepted(answer), self.now)
            ]

    def answer(self, call: Call, assigned: Assigned) -> Any:
        self.asked[type(call).__name__] += 1
        if isinstance(call, SendHeartbeat):
            return DeviceVersion(f"1.0/{assigned.number}") if self.versions else None
        return plan(assigned.number) if isinstance(call, GetDeployments) else Registration("REGISTERED", 300.0, 1.0)


def simulated(versions: bool, interval: float) -> Site:
    """An hour of devices that send a heartbeat each `interval` seconds."""
    chance, site, events = random.Random(SEED), Site(versions), []
    for number in range(DEVICES):
        assigned = Assigned(Device("fleet-a", f"dev-{number}"))
        site.engine.restore_hellos(assigned.device, [HelloRecord(HELLO)])
        first = chance.uniform(0, interval)
        events += [(first + place * interval, assigned, False) for place in range(int(HOUR / interval))]
        events += [(chance.uniform(interval, HOUR - 120), assigned, True) for _ in range(DEPLOYMENTS)]
    for at, assigned, deploys in sorted(events, key=lambda event: event[0]):
        site.now = Instant(EPOCH + at, at)
        if not deploys:
            site.beat(assigned)
        else:
            assigned.number += 1
            if assigned.due is None:
                assigned.due, assigned.beats = at, 0
    return site


def main() -> None:
    table = Table(title=f"{DEVICES} devices, {DEPLOYMENTS} deployments each in an hour; plan_ttl 30 s, CacheTTL 300 s")
    for column in ("heartbeat each", "versions", "other calls", "ratio", "heartbeats until the plan", "seconds"):
        table.add_column(column, justify="right")
    for interval in (1.0, 10.0, 60.0):
        base = 0
        for versions in (False, True):
            site = simulated(versions, interval)
            others = site.asked.total() - site.asked["SendHeartbeat"]
            base = base or others
            late = [f"{statistics.median(each):.3g}, at most {max(each):.3g}" for each in zip(*site.late, strict=True)]
            words = (f"{interval:g} s", "yes" if versions else "no", f"{others:,}", f"{others / base:.3f} x")
            table.add_row(*words, *late)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
