"""One device floods the gateway beside others that behave."""

import statistics
import time

import pytest

from tests.faults.device import Device
from tests.faults.scenario import Scenario, scaled
from tests.support.flood import Flood
from tests.support.plain_device import Login, Operator

FLOOD_S = scaled(2.0, 30.0)
RATE, BURST = 50, 200
TINY = bytes.fromhex("93 01 02 91 03")
"""A heartbeat of five bytes, of a tag without a hello."""


def delays(devices: list[Device]) -> str:
    """The acks since it was asked last."""
    found = [delay for device in devices for delay in device.delays]
    for device in devices:
        device.delays.clear()
    return f"median {statistics.median(found) * 1000:.0f} ms, worst {max(found) * 1000:.0f} ms"


@pytest.mark.parametrize("qos", [0, 1])
def test_a_flood_from_one_device(scenario: Scenario, qos: int) -> None:
    """As fast as the broker reads. It gets code 7 for what is over its rate, once a second and with the number; the
    others get no error, lose nothing, and wait for nothing: the gateway rejects as fast as the broker delivers."""
    gateway = scenario.gateway(device_rate=RATE, device_burst=BURST, intake=1000)
    at, name = scenario.broker.address, f"{scenario.name}/loud"
    login = scenario.broker.add_users([name])[name]
    others = scenario.join(scaled(20, 200))
    scenario.load(scaled(100, 500), others)
    scenario.run_for(scaled(1, 10))
    scenario.stop_load()
    scenario.until_through()
    alone = scenario.call(delays, others)
    watcher = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
    began = time.monotonic()
    with Operator(watcher, scenario.name) as operator:
        scenario.load(scaled(100, 500), others)
        with Flood(at.host, at.device_port, login, f"edge/{name}/hb", TINY, qos) as flood:
            scenario.run_for(FLOOD_S)
        scenario.stop_load()
        scenario.until_through()
        behaved = scenario.figures("d-")
        gateway.until_metric('messages_received_total{channel="hb"}', flood.sent + behaved.sent)
        rejected = gateway.metrics()["messages_rate_limited_total"]
        gateway.until_metric('messages_rejected_total{code="gave_up"}', rejected)
        letters = operator.dead.so_far()
    seconds = time.monotonic() - began
    scenario.check_ledger(
        f"the flood {flood.sent / flood.seconds:,.0f} a second, rejected {rejected:,.0f} of {flood.sent:,};"
        f" acks of the others: {alone}, beside it {scenario.call(delays, others)}"
    )
    assert flood.error is None
    assert (behaved.errors, behaved.accepted) == (0, behaved.sent)
    assert 0 < flood.sent - rejected <= BURST + RATE * seconds + 1
    assert 0 < sum(each.properties["code"] == "7" for each in letters) <= seconds + 1
