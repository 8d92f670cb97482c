"""Devices whose connections end without a word, and come back: the broker publishes their last wills on `live`."""

from collections.abc import Iterable

from tests.faults.device import Device
from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import Reply, always
from tests.support.tcp_proxy import TcpProxy

GONE, CONNECTED = 0, 1


def until_all_are(scenario: Scenario, devices: Iterable[Device], state: int) -> None:
    states = scenario.service.states
    scenario.until(
        lambda: all(states[device.name][-1:] == [state] for device in list(devices)),
        f"not all are {state}",
    )


def connected_devices(scenario: Scenario, resend_after: float | None) -> tuple[list[Device], TcpProxy]:
    proxy = scenario.proxy(scenario.broker.address.device_port)
    devices = scenario.join(scaled(30, 300), resend_after=resend_after, says_live=True, port=proxy.port)
    until_all_are(scenario, devices, CONNECTED)
    return devices, proxy


def test_devices_come_and_go_while_the_gateway_is_killed(scenario: Scenario) -> None:
    """What is said last comes last, however often the gateway dies under it."""
    gateway = scenario.gateway()
    devices, proxy = connected_devices(scenario, resend_after=1.0)
    scenario.service.rule = always(Reply(delay=0.1))  # so that calls are in flight at each kill
    scenario.load(scaled(150, 500))
    for _ in range(scaled(3, 30)):
        scenario.run_for(0.5)
        scenario.call(proxy.cut)
        scenario.run_for(0.3)
        gateway.kill()
        gateway.start()
    scenario.stop_load()
    scenario.service.rule = always(Reply())  # what was sent again meanwhile is through sooner
    scenario.until_through()
    until_all_are(scenario, devices, CONNECTED)
    assert all(GONE in scenario.service.states[device.name] for device in devices)
    scenario.run(proxy.close())
    until_all_are(scenario, devices, GONE)
    gateway.until_metric("unacknowledged_messages", 0)
    scenario.check_ledger(f"cuts {proxy.cuts}")


def test_devices_come_and_go_while_the_cloud_is_down(scenario: Scenario) -> None:
    """All that was said waits at its place among the heartbeats."""
    gateway = scenario.gateway()
    devices, proxy = connected_devices(scenario, resend_after=None)
    scenario.beat()
    scenario.until_through()
    scenario.service.rule = always(Reply(503))
    for connections in range(2, 5):
        scenario.call(proxy.cut)
        scenario.until(lambda n=connections: all(each.connections == n for each in devices), "not all are back")  # type: ignore[misc]
        scenario.beat()
        scenario.until_confirmed()
    scenario.service.rule = always(Reply())
    scenario.until_through()
    gateway.until_metric("unacknowledged_messages", 0)
    assert {tuple(scenario.service.states[device.name]) for device in devices} == {(CONNECTED, *[GONE, CONNECTED] * 3)}
    assert scenario.check_ledger(f"cuts {proxy.cuts}").duplicates == 0
