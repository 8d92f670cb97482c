"""One device floods the gateway beside others that behave."""

import statistics
import time

from tests.faults.device import Device
from tests.faults.scenario import Scenario, scaled

FLOOD = 10_000
"""Heartbeats a second of one device."""
RATE, BURST = 50, 200


def delays(devices: list[Device]) -> str:
    """The acks since it was asked last."""
    found = [delay for device in devices for delay in device.delays]
    for device in devices:
        device.delays.clear()
    return f"median {statistics.median(found) * 1000:.0f} ms, worst {max(found) * 1000:.0f} ms"


def test_a_flood_from_one_device(scenario: Scenario) -> None:
    """It gets code 7 for what is over its rate; the others get no error and lose nothing."""
    scenario.gateway(device_rate=RATE, device_burst=BURST)
    scenario.watch_dead()
    (loud,) = scenario.join(1, prefix="loud")
    others = scenario.join(scaled(20, 200))
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(1, 10))
    scenario.stop_load()
    scenario.until_through()
    alone = scenario.call(delays, others)
    began = time.monotonic()
    scenario.load(FLOOD, [loud])
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(2, 10))
    scenario.stop_load()
    scenario.until_through()
    most = BURST + RATE * (time.monotonic() - began)
    flooded, behaved = scenario.figures("loud"), scenario.figures("d-")
    words = f"accepted of the flood {flooded.accepted:,} of {flooded.sent:,}"
    scenario.check_ledger(f"{words}; acks of the others: {alone}, beside it {scenario.call(delays, others)}")
    assert flooded.errors > 0
    assert flooded.accepted <= most + 1
    assert (behaved.errors, behaved.accepted) == (0, behaved.sent)
