"""Two gateways, one of them killed: by fleets, and with a shared subscription."""

import pytest

from tests.faults.scenario import GROUP, Scenario, scaled
from tests.support.edge_manager import Reply, always


def test_two_gateways_by_fleets_and_one_is_killed(scenario: Scenario) -> None:
    """The other fleet does not notice; what comes meanwhile waits until the gateway is back."""
    theirs = f"{scenario.name}-b"
    killed = scenario.gateway()
    scenario.gateway(fleets=theirs, state=scenario.folder / "other")
    scenario.join(scaled(20, 200), prefix="a")
    scenario.join(scaled(20, 200), prefix="b", fleet=theirs)
    scenario.service.rule = always(Reply(delay=0.1))
    scenario.load(scaled(200, 1000))
    for _ in range(scaled(1, 20)):
        scenario.until_accepted(40)
        killed.kill()
        scenario.until_accepted(scaled(60, 600))
        killed.start()
    scenario.stop_load()
    scenario.until_through()
    others = scenario.figures("b")
    scenario.check_ledger(f"of the other gateway {others.sent:,}, duplicates {others.duplicates}")
    assert others.duplicates == 0


@pytest.mark.needs_broker("assigning_to_the_absent")
def test_two_gateways_share_a_subscription_and_one_is_killed(scenario: Scenario) -> None:
    """The broker continues to assign messages to the one that was killed: they wait until it is back, out of order."""
    scenario.ledger.ordered = False
    killed = scenario.gateway(group=GROUP, client_id=f"{scenario.name}-1")
    other = scenario.gateway(group=GROUP, client_id=f"{scenario.name}-2", state=scenario.folder / "other")
    scenario.join(scaled(20, 200), wants_acks=False)
    scenario.load(scaled(200, 1000))
    scenario.until_accepted(40)
    killed.kill()
    scenario.until_accepted(scaled(60, 600))
    scenario.stop_load()
    scenario.until_confirmed()
    other.until_metric("unacknowledged_messages", 0)
    waiting = scenario.ledger.open
    assert waiting > 0
    killed.start()
    scenario.until_through()
    scenario.check_ledger(f"waited for the dead one {waiting:,}")
