"""Two and three gateways at one broker: they join, leave, are killed, and the broker restarts under them.

By fleets nothing is lost and a device's calls keep their order. With a shared subscription the order is each gateway's
own, and what Mosquitto drops after its own restart is what no device sends again.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.scenario import DRAIN_S, GROUP, Scenario, scaled
from tests.support.edge_manager import UNAVAILABLE, accept_all, always
from tests.support.gateway_process import READY, GatewayProcess

LEFT = "left the shared subscription"
COUNTS = scaled([3], [2, 3])
AGAIN_S = scaled(1.0, 5.0)
"""What was not acked by then is sent again; sooner, and a thousand a second drown in their own repetitions."""


def fleet_of(scenario: Scenario, index: int) -> str:
    return f"{scenario.name}-{index}"


def by_fleet(scenario: Scenario, index: int, resend_after: float | None = None) -> GatewayProcess:
    """A gateway of its own fleet, and that fleet's devices: some ask for acks, some do not."""
    gateway = scenario.gateway(
        fleets=fleet_of(scenario, index), state=scenario.folder / str(index), drain_timeout=DRAIN_S
    )
    count, fleet = scaled(5, 50), fleet_of(scenario, index)
    scenario.join(count, prefix=f"asks-{index}", resend_after=resend_after, fleet=fleet)
    scenario.join(count, prefix=f"mute-{index}", wants_acks=False, fleet=fleet)
    return gateway


def member(scenario: Scenario, index: int, **more: Any) -> GatewayProcess:
    """A gateway of the group."""
    name = f"{scenario.name}-{index}"
    return scenario.gateway(group=GROUP, client_id=name, state=scenario.folder / name, **more)


def start_broker_again(broker: Mosquitto, gateways: Iterable[GatewayProcess]) -> None:
    """The broker starts, and all of them are back."""
    broker.start()
    for gateway in gateways:
        gateway.wait_for_log(READY)


def taken(gateway: GatewayProcess) -> float:
    return gateway.metrics()['messages_received_total{channel="hb"}']


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_gateways_join_leave_and_are_killed(scenario: Scenario, count: int) -> None:
    """One joins at each start; what comes while it is away waits in its session, and the others go on."""
    gateways = [by_fleet(scenario, index) for index in range(count)]
    leaves, dies = gateways[-1], gateways[0]
    scenario.load(scaled(200, 1000))
    for _ in range(scaled(1, 20)):
        scenario.until_accepted(40)
        assert leaves.terminate() == 0
        scenario.until_accepted(scaled(60, 600))
        leaves.start()
    scenario.until_accepted(40)
    left = scenario.call(scenario.ledger.figures)
    assert left.duplicates == 0, "who leaves is delivered nothing again that the cloud has"
    for _ in range(scaled(1, 20)):
        dies.kill()
        scenario.until_accepted(scaled(60, 600))
        dies.start()
        scenario.until_accepted(40)
    scenario.stop_load()
    scenario.until_through()
    scenario.check_ledger()


@pytest.mark.needs_broker("unsubscribe")
def test_a_fleet_moves_to_a_gateway_that_joins(scenario: Scenario) -> None:
    """The new one subscribes first, then the other one restarts without that fleet: under its client id, so what
    waits in its session is not lost, and the subscription that it does not need any more is removed."""
    stays, moves = fleet_of(scenario, 0), fleet_of(scenario, 1)
    same: dict[str, Any] = {"client_id": f"{scenario.name}-old", "state": scenario.folder / "old"}
    both = scenario.gateway(fleets=f"{stays},{moves}", **same)
    scenario.join(scaled(10, 100), prefix="stays", fleet=stays)
    scenario.join(scaled(10, 100), prefix="moves", fleet=moves)
    scenario.load(scaled(100, 1000))
    scenario.until_accepted(40)
    scenario.gateway(fleets=moves, client_id=f"{scenario.name}-new", state=scenario.folder / "new")
    scenario.until_accepted(40)
    assert both.terminate() == 0
    old = scenario.gateway(fleets=stays, **same)
    scenario.until_accepted(40)
    scenario.stop_load()
    scenario.until_through()
    old.until_metric("unacknowledged_messages", 0)
    before = scenario.call(scenario.ledger.figures)
    scenario.beat(scaled(5, 50))
    scenario.until_through()
    old.until_metric("unacknowledged_messages", 0)
    after = scenario.check_ledger(f"while both had the fleet {before.duplicates:,} came to both")
    assert after.duplicates == before.duplicates


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_the_broker_restarts(own_scenario: Scenario, own_mosquitto: Mosquitto, count: int) -> None:
    """Plain subscriptions are in the broker's file: nothing is lost, whether a device asked or not."""
    gateways = [by_fleet(own_scenario, index, resend_after=AGAIN_S) for index in range(count)]
    own_scenario.load(scaled(200, 1000))
    for _ in range(scaled(2, 20)):
        own_scenario.until_accepted(40)
        own_mosquitto.stop()
        start_broker_again(own_mosquitto, gateways)
    own_scenario.until_accepted(40)
    own_scenario.stop_load()
    own_scenario.until_through()
    own_scenario.check_ledger()


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_the_broker_is_killed(own_scenario: Scenario, own_mosquitto: Mosquitto, count: int) -> None:
    """What a device asked for comes again; of the rest, what came since the last save is lost."""
    gateways = [by_fleet(own_scenario, index, resend_after=AGAIN_S) for index in range(count)]
    own_mosquitto.save()
    own_scenario.load(scaled(200, 1000))
    for _ in range(scaled(2, 20)):
        own_scenario.until_accepted(40)
        own_mosquitto.kill()
        start_broker_again(own_mosquitto, gateways)
    own_scenario.until_accepted(40)
    own_scenario.stop_load()
    own_scenario.beat()
    own_scenario.until_decided()
    mute = own_scenario.call(own_scenario.ledger.figures, "mute")
    own_scenario.check_ledger(f"of {mute.sent:,} that nobody asked for {mute.lost:,} were lost", forgiven=mute.sent)
    assert own_scenario.call(own_scenario.ledger.figures, "asks").lost == 0


@pytest.mark.needs_broker("unsubscribe")
@pytest.mark.parametrize("count", COUNTS)
def test_members_of_a_group_join_and_leave(scenario: Scenario, count: int) -> None:
    """A member that leaves keeps no message: all are accepted while it is away, and none twice."""
    scenario.ledger.ordered = False
    stays = member(scenario, 0, drain_timeout=DRAIN_S)
    scenario.join(scaled(20, 200))
    scenario.load(scaled(200, 1000))
    others = [member(scenario, index, drain_timeout=DRAIN_S) for index in range(1, count)]
    for turn in range(scaled(2, 20)):
        for other in others if turn else ():
            other.start()
        for other in others:
            scenario.until(lambda other=other: taken(other) > 0, "it has no share")  # type: ignore[misc]
            assert other.terminate() == 0
            assert other.wait_for_log(LEFT)["left_behind"] == 0
            assert other.wait_for_log("stopped")["unacknowledged"] == 0
        before = taken(stays)
        scenario.until_accepted(scaled(60, 600))
        assert taken(stays) > before
    scenario.stop_load()
    scenario.until_through()
    figures = scenario.check_ledger("all but one away at the end")
    assert figures.duplicates == 0


@pytest.mark.needs_broker("unsubscribe")
def test_a_member_leaves_with_its_intake_full(scenario: Scenario) -> None:
    """The broker keeps back more than Receive Maximum lets it send: all of that is still taken."""
    scenario.ledger.ordered = False
    stays = member(scenario, 0)
    leaves = member(scenario, 1, intake=10, concurrency=1, drain_timeout=DRAIN_S)
    scenario.join(scaled(50, 200))
    scenario.beat(10)
    scenario.until_accepted(10)
    assert leaves.terminate() == 0
    assert leaves.wait_for_log(LEFT)["left_behind"] == 0
    scenario.until_through()
    figures = scenario.check_ledger(f"the one that stayed took {taken(stays):,.0f}")
    assert figures.duplicates == 0


@pytest.mark.parametrize("count", COUNTS)
def test_members_of_a_group_are_killed_and_come_back(scenario: Scenario, count: int) -> None:
    """The broker assigns messages to the one that was killed too: they wait for its client id."""
    scenario.ledger.ordered = False
    members = [member(scenario, index) for index in range(count)]
    scenario.join(scaled(20, 200), wants_acks=False)
    scenario.load(scaled(200, 1000))
    for turn in range(scaled(2, 30)):
        dies = members[turn % count]
        scenario.until_accepted(40)
        dies.kill()
        scenario.until_accepted(scaled(40, 400))
        dies.start()
    scenario.stop_load()
    scenario.until_through()
    scenario.check_ledger()


@pytest.mark.parametrize("count", COUNTS)
def test_the_broker_restarts_under_a_group(own_scenario: Scenario, own_mosquitto: Mosquitto, count: int) -> None:
    """Mosquitto forgets the shared subscription and confirms what it drops until a member has subscribed again: what a
    device asked for comes again, the rest of those moments is lost."""
    own_scenario.ledger.ordered = False
    members = [member(own_scenario, index) for index in range(count)]
    own_scenario.join(scaled(20, 200), resend_after=AGAIN_S, prefix="asks")
    own_scenario.join(scaled(20, 200), wants_acks=False, prefix="mute")
    own_scenario.load(scaled(200, 1000))
    for _ in range(scaled(2, 30)):
        own_scenario.until_accepted(40)
        own_mosquitto.stop()
        start_broker_again(own_mosquitto, members)
    own_scenario.stop_load()
    own_scenario.beat()
    own_scenario.until_decided()
    for gateway in members:
        gateway.suspend()  # they would be back too soon to show it
    own_mosquitto.stop()
    own_mosquitto.start()
    own_scenario.beat(3)
    own_scenario.until_confirmed()
    for gateway in members:
        gateway.resume()
        gateway.wait_for_log(READY)
    own_scenario.beat()
    own_scenario.until_decided()
    mute = own_scenario.call(own_scenario.ledger.figures, "mute")
    own_scenario.check_ledger(f"of {mute.sent:,} that nobody asked for {mute.lost:,} were lost", forgiven=mute.sent)
    assert own_scenario.call(own_scenario.ledger.figures, "asks").lost == 0
    assert mute.lost >= 3 * scaled(20, 200)


@pytest.mark.needs_broker("unsubscribe")
def test_a_member_leaves_in_an_outage(scenario: Scenario) -> None:
    """What it could not acknowledge stays in its session, since the broker gives it to no other; it logs how much that
    is."""
    scenario.ledger.ordered = False
    member(scenario, 0)
    leaves = member(scenario, 1)
    scenario.join(scaled(20, 200))
    scenario.service.rule = always(UNAVAILABLE)
    scenario.beat(5)
    scenario.until_confirmed()
    scenario.until(lambda: leaves.metrics()["unacknowledged_messages"] > 0, "it has no share")
    assert leaves.terminate() == 0
    left = leaves.wait_for_log(LEFT)["left_behind"]
    assert left > 0
    scenario.service.rule = accept_all
    scenario.beat(5)
    scenario.until(lambda: scenario.ledger.open == left, "others than those left behind are open")
    leaves.start()
    scenario.until_through()
    assert scenario.check_ledger(f"left behind {left}").duplicates == 0
