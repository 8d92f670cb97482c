"""The gateway's clock is set while it runs, beside devices that have clocks: an hour, and days."""

import pytest

from tests.faults.clocked import JumpingClock
from tests.faults.scenario import Scenario, scaled
from tests.support.gateway_process import CALLS_REJECTED

HOUR, DAY = 3600, 86_400


@pytest.fixture
def clock(scenario: Scenario) -> JumpingClock:
    return JumpingClock(scenario.folder / "clock")


def test_the_clock_jumps(scenario: Scenario, clock: JumpingClock) -> None:
    """What devices dated themselves keeps its dates; no wait of the gateway goes by that clock."""
    scenario.gateway(command=clock.command)
    scenario.join(scaled(20, 200))
    scenario.load(scaled(200, 1000))
    for ahead in (HOUR, -HOUR, 300 * DAY, -HOUR, 0) * scaled(1, 10):
        scenario.until_accepted(40)
        clock.jump(ahead)
    scenario.until_accepted(40)
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger().errors == 0


def test_a_clock_whose_signatures_the_service_rejects(scenario: Scenario, clock: JumpingClock) -> None:
    """Signatures of another hour are refused for all calls: an operator must act, and devices get no error."""
    gateway = scenario.gateway(command=clock.command)
    scenario.service.skew_allowed = 300
    scenario.join(scaled(20, 200))
    scenario.load(scaled(200, 1000))
    for ahead in (HOUR, -HOUR):
        scenario.until_accepted(40)
        clock.jump(ahead)
        scenario.until_failed(10)
        gateway.wait_for_log(CALLS_REJECTED)
        clock.jump(0)
        gateway.wait_for_log("Edge Manager accepts calls again")
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger().errors == 0
