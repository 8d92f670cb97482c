"""The cloud is down for all, and comes back, twice: what waits, what it costs, and how it goes out."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import UNAVAILABLE, accept_all, always
from tests.support.gateway_process import GatewayProcess
from tests.support.process_memory import forget_peak, peak, resident

DEVICES = scaled(500, 10_000)
RATE = scaled(2000.0, 10_000 / 60)
"""Heartbeats a second; in full, one a minute of each device."""
SECONDS = scaled(5, 600)
INTAKE = scaled(6_000, 65_535)
"""Less than what comes: the broker keeps the rest."""
SHIPPED: dict[str, Any] = {"retry_base": 0.2, "retry_cap": 20.0, "intake": INTAKE}
"""The tests' other gateways are quicker than those of a plant."""
BYTES_EACH = 2048


@dataclass(frozen=True, slots=True)
class Outage:
    """What one outage came to. `growth` and `peak` in bytes; `calls`: those that failed; `ratio`: heartbeats of the
    outage a call that took them; `first_second` and `busiest_second`: calls after the return of the cloud."""

    waiting: int
    growth: int
    peak: int
    calls: int
    ratio: float
    first_second: int
    busiest_second: int

    def __str__(self) -> str:
        each = self.growth / self.waiting
        mb = self.peak / 1e6
        rates = f"{self.first_second} calls in the first second after it, {self.busiest_second} in the busiest"
        return f"{self.waiting:,} waiting, {each:,.0f} B each, peak {mb:.0f} MB, {self.calls} calls while down, {rates}"


def outage(scenario: Scenario, gateway: GatewayProcess) -> Outage:
    """Down, with the load going on; back, until all is through."""
    before = resident(gateway.pid)
    forget_peak(gateway.pid)
    failed, heartbeats = scenario.service.count(False), scenario.figures().sent
    scenario.service.rule = always(UNAVAILABLE)
    scenario.load(RATE)
    scenario.run_for(SECONDS)
    scenario.stop_load()
    scenario.until_confirmed()
    heartbeats = scenario.figures().sent - heartbeats
    scenario.until(lambda: gateway.metrics()["unacknowledged_messages"] >= min(heartbeats, INTAKE), "some are missing")
    waiting, grown = int(gateway.metrics()["unacknowledged_messages"]), peak(gateway.pid) - before
    failed, taken = scenario.service.count(False) - failed, scenario.service.count(True, "SendHeartbeat")
    scenario.service.times.clear()
    scenario.service.rule = accept_all
    scenario.until_through()
    gateway.until_metric("unacknowledged_messages", 0)
    taken = scenario.service.count(True, "SendHeartbeat") - taken
    seconds = Counter(int(at - scenario.service.times[0]) for at in scenario.service.times)
    ratio = heartbeats / taken
    return Outage(waiting, grown, peak(gateway.pid), failed, ratio, seconds[0], max(seconds.values()))


def test_the_cloud_is_down_twice(own_scenario: Scenario) -> None:
    """Memory grows with what waits, up to the intake, and no further the second time; merging makes few calls."""
    scenario = own_scenario
    gateway = scenario.gateway(**SHIPPED)
    scenario.join(DEVICES, wants_acks=False)
    scenario.beat(2)
    scenario.until_through()
    first, second = outage(scenario, gateway), outage(scenario, gateway)
    bound = first.waiting / DEVICES
    ratios = f"heartbeats a call {first.ratio:.1f} and {second.ratio:.1f}, waiting over devices {bound:.1f}"
    scenario.check_ledger(f"first {first}; second {second}; {ratios}")
    assert first.waiting < 1.1 * INTAKE
    assert first.growth <= BYTES_EACH * first.waiting
    assert second.peak <= 1.05 * first.peak
    assert min(first.ratio, second.ratio) > bound / 3
    assert max(first.calls, second.calls) < DEVICES  # those in flight when it goes down, then attempts one by one


@pytest.mark.needs_broker("receive_maximum")
def test_a_start_in_an_outage_with_a_backlog(scenario: Scenario) -> None:
    """More waits at the broker than the intake takes: the gateway is connected and subscribed all the same."""
    gateway = scenario.gateway(intake=100)
    scenario.join(20)
    scenario.beat()
    scenario.until_through()
    gateway.kill()
    scenario.beat(scaled(50, 5000))
    scenario.until_confirmed()
    scenario.service.rule = always(UNAVAILABLE)
    gateway.start()
    gateway.until_metric("reading_paused", 1)
    found = gateway.metrics()
    assert (found["connected"], found["unacknowledged_messages"]) == (1, 100)
    scenario.service.rule = accept_all
    scenario.until_through()
    scenario.check_ledger()
