"""The gateway is killed, stalled, and asked to end, under load."""

from tests.faults.scenario import DRAIN_S, Scenario, scaled
from tests.support.edge_manager import Reply, always
from tests.support.gateway_process import READY
from tests.support.plain_device import send_nothing


def test_the_gateway_is_killed_every_second(scenario: Scenario) -> None:
    """What it had not acknowledged is delivered again; a device sees a late ack and nothing else."""
    gateway = scenario.gateway()
    for device in scenario.join(scaled(40, 200)):
        scenario.call(device.report_result, f"of-{device.name}")
    scenario.service.rule = always(Reply(delay=0.2))  # so that calls are in flight at each kill
    scenario.load(scaled(250, 500))
    for _ in range(scaled(3, 30)):
        scenario.run_for(1.0)
        scenario.until_accepted(1)
        gateway.kill()
        gateway.start()
    scenario.stop_load()
    scenario.until_through()
    gateway.until_metric("unacknowledged_messages", 0)
    assert scenario.check_ledger().duplicates > 0, "no death found a call under way"


def test_a_stop_under_load_repeats_nothing(scenario: Scenario) -> None:
    """SIGTERM: nothing more is taken in and what is under way ends, so nothing that the cloud accepted is delivered
    again. It ends of itself, before drain_timeout would end it."""
    gateway = scenario.gateway(drain_timeout=DRAIN_S)
    scenario.join(scaled(40, 200))
    scenario.service.rule = always(Reply(delay=0.05))
    scenario.load(scaled(400, 1000))
    for _ in range(scaled(2, 20)):
        scenario.until_accepted(100)
        assert gateway.terminate() == 0
        assert gateway.wait_for_log("stopped")["unacknowledged"] == 0
        gateway.start()
    scenario.stop_load()
    scenario.until_through()
    assert scenario.check_ledger().duplicates == 0


def test_a_stop_with_a_full_intake_repeats_nothing(scenario: Scenario) -> None:
    """The broker has more than the gateway takes in: what becomes free while it stops is not filled again."""
    gateway = scenario.gateway(intake=30, drain_timeout=DRAIN_S)
    scenario.join(scaled(40, 200))
    scenario.service.rule = always(Reply(delay=0.1))
    for _ in range(scaled(2, 20)):
        scenario.beat(10)
        scenario.until_confirmed()
        gateway.until_metric("reading_paused", 1)
        assert gateway.terminate() == 0
        assert gateway.wait_for_log("stopped")["unacknowledged"] == 0
        gateway.start()
    scenario.until_through()
    assert scenario.check_ledger().duplicates == 0


def test_the_gateway_is_suspended(scenario: Scenario) -> None:
    """SIGSTOP for longer than the keepalive allows: the broker closes its connection and keeps the messages."""
    gateway = scenario.gateway(keepalive=1)
    scenario.join(scaled(20, 200))
    scenario.load(200)
    scenario.until_accepted(20)
    gateway.suspend()
    send_nothing(scenario.login, 1)
    scenario.run_for(scaled(1, 30))
    gateway.resume()
    gateway.wait_for_log(READY)
    scenario.until_accepted(20)
    scenario.stop_load()
    scenario.until_through()
    scenario.check_ledger()
