"""The network between broker and gateway, and between devices and broker, through a proxy that cuts and slows."""

from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import Reply, always
from tests.support.gateway_process import READY


def test_the_gateways_connections_are_cut_again_and_again(scenario: Scenario) -> None:
    """Wherever in a packet: the broker delivers again what was not acknowledged."""
    proxy = scenario.proxy(scenario.broker.address.gateway_port)
    gateway = scenario.gateway(proxy.port)
    scenario.join(30)
    scenario.service.rule = always(Reply(delay=0.1))  # so that calls are in flight at each cut
    scenario.load(300)
    for _ in range(scaled(8, 60)):
        scenario.run_for(0.2)
        scenario.until_accepted(1)
        scenario.call(proxy.cut)
        gateway.wait_for_log("connection to the broker lost: it keeps unacknowledged messages")
        gateway.wait_for_log(READY)
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger(f"cuts {proxy.cuts}").duplicates > 0, "no cut found a call under way"


def test_the_devices_connections_are_cut_again_and_again(scenario: Scenario) -> None:
    """They come back all at once, and send again what they have no PUBACK or no ack for."""
    scenario.gateway()
    proxy = scenario.proxy(scenario.broker.address.device_port)
    scenario.join(scaled(100, 2000), resend_after=1.0, port=proxy.port)
    scenario.load(scaled(300, 1000))
    for _ in range(scaled(5, 30)):
        scenario.run_for(0.4)
        scenario.call(proxy.cut)
    scenario.stop_load()
    scenario.until_through()
    scenario.check_ledger(f"cuts {proxy.cuts}")


def test_a_slow_link_to_the_broker(scenario: Scenario) -> None:
    """Fewer bytes a second than the heartbeats need: they wait at the broker, and come in their order."""
    proxy = scenario.proxy(scenario.broker.address.gateway_port)
    scenario.gateway(proxy.port)
    scenario.join(scaled(20, 100))
    scenario.beat()
    scenario.until_through()
    proxy.rate = 4000
    scenario.load(scaled(300, 1000))
    scenario.run_for(scaled(2, 60))
    scenario.stop_load()
    assert scenario.ledger.open > 100, "it was not slow"
    proxy.rate = None
    scenario.until_through()
    scenario.check_ledger()
