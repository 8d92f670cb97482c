"""One device floods the gateway, by heartbeats that are many or heavy, beside others that behave."""

import statistics
import time

import msgpack

from tests.faults.device import Device
from tests.faults.scenario import Scenario, scaled
from tests.support.payloads import EPOCH
from tests.support.plain_device import Login, PlainDevice

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


def heavy(samples: int, seq: int) -> bytes:
    """A heartbeat of one metric, with names as long as the service takes: 1,175 bytes of JSON for each two here."""
    layout = ["1.0.0", [["d" * 1000, "n" * 100]], []]
    return bytes(msgpack.packb([layout, EPOCH, [[0] * (2 * samples)], None, None, None, seq]))


def test_heavy_heartbeats_from_one_device(scenario: Scenario) -> None:
    """A call is at most 2 MiB of JSON: what would be more gets code 4, and no other device waits for it."""
    scenario.gateway()
    name = f"{scenario.name}/heavy"
    user = scenario.broker.add_users([name])[name]
    at = scenario.broker.address
    others = scenario.join(scaled(20, 200))
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(1, 10))
    alone = scenario.call(delays, others)
    with PlainDevice(Login(at.host, at.device_port, user.user, user.password), name) as device:
        for seq in range(scaled(10, 100)):
            device.send("hb", heavy(32_000, seq))
            assert device.ack(seq)[0] == 4
    scenario.stop_load()
    scenario.until_through()
    behaved = scenario.figures("d-")
    scenario.check_ledger(f"acks of the others: {alone}, beside it {scenario.call(delays, others)}")
    assert (behaved.errors, behaved.accepted) == (0, behaved.sent)
