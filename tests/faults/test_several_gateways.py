"""Two and three gateways at one broker: they join, leave, are killed, and the broker restarts under them.

By fleets nothing is lost and a device's calls keep their order. With a shared subscription the order is each gateway's
own, and what Mosquitto drops after its own restart is what no device sends again.
"""

from collections.abc import Iterable

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.scene import Scene, scaled
from tests.faults.troubles import DOWN, always, fine
from tests.support.gateway_process import READY, GatewayProcess

LEFT = "left the group"
COUNTS = scaled([3], [2, 3])
AGAIN_S = scaled(1.0, 5.0)
"""What was not acked by then is sent again; sooner, and a thousand a second drown in their own repetitions."""


def fleet_of(scene: Scene, index: int) -> str:
    return f"{scene.name}-{index}"


def by_fleet(scene: Scene, index: int, again_after: float | None = None) -> GatewayProcess:
    """A gateway of its own fleet, and that fleet's devices: some ask for acks, some do not."""
    gateway = scene.gateway(fleets=fleet_of(scene, index), state=scene.folder / str(index))
    count, fleet = scaled(5, 50), fleet_of(scene, index)
    scene.join(count, prefix=f"asks-{index}", again_after=again_after, fleet=fleet)
    scene.join(count, prefix=f"mute-{index}", asks=False, fleet=fleet)
    return gateway


def member(scene: Scene, index: int) -> GatewayProcess:
    """A gateway of the group."""
    name = f"{scene.name}-{index}"
    return scene.gateway(group="site", client_id=name, state=scene.folder / name)


def begin_again(broker: Mosquitto, gateways: Iterable[GatewayProcess]) -> None:
    """The broker starts, and all of them are back."""
    broker.start()
    for gateway in gateways:
        gateway.said(READY)


def taken(gateway: GatewayProcess) -> float:
    return gateway.metrics()['messages_received_total{channel="hb"}']


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_gateways_join_leave_and_die(scene: Scene, count: int) -> None:
    """Each life of one of them is a joining; what comes while it is away waits in its session, and the others go on."""
    gateways = [by_fleet(scene, index) for index in range(count)]
    leaves, dies = gateways[-1], gateways[0]
    scene.load(scaled(200, 1000))
    for _ in range(scaled(1, 20)):
        scene.until_accepted(40)
        assert leaves.terminate() == 0
        scene.until_accepted(scaled(60, 600))
        leaves.start()
    scene.until_accepted(40)
    left = scene.ask(scene.ledger.figures)
    assert left.duplicates == 0, "who leaves is delivered nothing again that the cloud has"
    for _ in range(scaled(1, 20)):
        dies.kill()
        scene.until_accepted(scaled(60, 600))
        dies.start()
        scene.until_accepted(40)
    scene.rest()
    scene.until_through()
    scene.close_books()


@pytest.mark.needs_broker("unsubscribe")
def test_a_fleet_moves_to_a_gateway_that_joins(scene: Scene) -> None:
    """The newcomer subscribes first, then the other one begins anew without that fleet: under its client id, so what
    waits in its session is not forsaken, and the subscription that nobody names any more is given up."""
    stays, moves = fleet_of(scene, 0), fleet_of(scene, 1)
    settled = {"client_id": f"{scene.name}-old", "state": scene.folder / "old"}
    both = scene.gateway(fleets=f"{stays},{moves}", **settled)
    scene.join(scaled(10, 100), prefix="stays", fleet=stays)
    scene.join(scaled(10, 100), prefix="moves", fleet=moves)
    scene.load(scaled(100, 1000))
    scene.until_accepted(40)
    scene.gateway(fleets=moves, client_id=f"{scene.name}-new", state=scene.folder / "new")
    scene.until_accepted(40)
    both.terminate()
    old = scene.gateway(fleets=stays, **settled)
    scene.until_accepted(40)
    scene.rest()
    scene.until_through()
    old.until_metric("unacknowledged_messages", 0)
    before = scene.ask(scene.ledger.figures)
    scene.beat(scaled(5, 50))
    scene.until_through()
    old.until_metric("unacknowledged_messages", 0)
    after = scene.close_books(f"while both had the fleet {before.duplicates:,} came to both")
    assert after.duplicates == before.duplicates


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_the_broker_restarts(own_scene: Scene, own_mosquitto: Mosquitto, count: int) -> None:
    """Plain subscriptions live in the broker's file: nothing is lost, whether a device asked or not."""
    gateways = [by_fleet(own_scene, index, again_after=AGAIN_S) for index in range(count)]
    own_scene.load(scaled(200, 1000))
    for _ in range(scaled(2, 20)):
        own_scene.until_accepted(40)
        own_mosquitto.stop()
        begin_again(own_mosquitto, gateways)
    own_scene.until_accepted(40)
    own_scene.rest()
    own_scene.until_through()
    own_scene.close_books()


@pytest.mark.parametrize("count", COUNTS)
def test_by_fleets_the_broker_is_killed(own_scene: Scene, own_mosquitto: Mosquitto, count: int) -> None:
    """What a device asked for comes again; of the rest, what came since the last save is lost."""
    gateways = [by_fleet(own_scene, index, again_after=AGAIN_S) for index in range(count)]
    own_mosquitto.save()
    own_scene.load(scaled(200, 1000))
    for _ in range(scaled(2, 20)):
        own_scene.until_accepted(40)
        own_mosquitto.kill()
        begin_again(own_mosquitto, gateways)
    own_scene.until_accepted(40)
    own_scene.rest()
    own_scene.beat()
    own_scene.until_decided()
    mute = own_scene.ask(own_scene.ledger.figures, "mute")
    own_scene.close_books(f"of {mute.sent:,} that nobody asked for {mute.lost:,} were lost", forgiven=mute.sent)
    assert own_scene.ask(own_scene.ledger.figures, "asks").lost == 0


@pytest.mark.needs_broker("unsubscribe")
@pytest.mark.parametrize("count", COUNTS)
def test_members_of_a_group_join_and_leave(scene: Scene, count: int) -> None:
    """Who leaves takes nothing along: all is through while it is away, and nothing came twice."""
    scene.ledger.ordered = False
    stays = member(scene, 0)
    scene.join(scaled(20, 200))
    scene.load(scaled(200, 1000))
    others = [member(scene, index) for index in range(1, count)]
    for turn in range(scaled(2, 20)):
        for other in others if turn else ():
            other.start()
        for other in others:
            scene.until(lambda other=other: taken(other) > 0, "it has no share")
            assert other.terminate() == 0
            assert other.said(LEFT)["left_behind"] == 0
            assert other.said("stopped")["unacknowledged"] == 0
        before = taken(stays)
        scene.until_accepted(scaled(60, 600))
        assert taken(stays) > before
    scene.rest()
    scene.until_through()
    figures = scene.close_books("all but one away at the end")
    assert figures.duplicates == 0


@pytest.mark.needs_broker("unsubscribe")
def test_a_member_leaves_with_its_intake_full(scene: Scene) -> None:
    """The broker keeps back more than Receive Maximum lets it send: all of that is still taken."""
    scene.ledger.ordered = False
    stays, leaves = (
        member(scene, 0),
        scene.gateway(group="site", client_id=f"{scene.name}-1", state=scene.folder / "1", intake=10, concurrency=1),
    )
    scene.join(scaled(50, 200))
    scene.beat(10)
    scene.until_accepted(10)
    assert leaves.terminate() == 0
    assert leaves.said(LEFT)["left_behind"] == 0
    scene.until_through()
    figures = scene.close_books(f"the one that stayed took {taken(stays):,.0f}")
    assert figures.duplicates == 0


@pytest.mark.parametrize("count", COUNTS)
def test_members_of_a_group_die_and_come_back(scene: Scene, count: int) -> None:
    """The broker deals to the dead one too: its share waits for the client id."""
    scene.ledger.ordered = False
    members = [member(scene, index) for index in range(count)]
    scene.join(scaled(20, 200), asks=False)
    scene.load(scaled(200, 1000))
    for turn in range(scaled(2, 30)):
        dies = members[turn % count]
        scene.until_accepted(40)
        dies.kill()
        scene.until_accepted(scaled(40, 400))
        dies.start()
    scene.rest()
    scene.until_through()
    scene.close_books()


@pytest.mark.parametrize("count", COUNTS)
def test_the_broker_restarts_under_a_group(own_scene: Scene, own_mosquitto: Mosquitto, count: int) -> None:
    """Mosquitto forgets the shared subscription and confirms what it drops until a member has subscribed again: what a
    device asked for comes again, the rest of those moments is lost."""
    own_scene.ledger.ordered = False
    members = [member(own_scene, index) for index in range(count)]
    own_scene.join(scaled(20, 200), again_after=AGAIN_S, prefix="asks")
    own_scene.join(scaled(20, 200), asks=False, prefix="mute")
    own_scene.load(scaled(200, 1000))
    for _ in range(scaled(2, 30)):
        own_scene.until_accepted(40)
        own_mosquitto.stop()
        begin_again(own_mosquitto, members)
    own_scene.rest()
    own_scene.beat()
    own_scene.until_decided()
    for gateway in members:
        gateway.stall()  # they would be back too soon to show it
    own_mosquitto.stop()
    own_mosquitto.start()
    own_scene.beat(3)
    own_scene.until_confirmed()
    for gateway in members:
        gateway.wake()
        gateway.said(READY)
    own_scene.beat()
    own_scene.until_decided()
    mute = own_scene.ask(own_scene.ledger.figures, "mute")
    own_scene.close_books(f"of {mute.sent:,} that nobody asked for {mute.lost:,} were lost", forgiven=mute.sent)
    assert own_scene.ask(own_scene.ledger.figures, "asks").lost == 0
    assert mute.lost >= 3 * scaled(20, 200)


@pytest.mark.needs_broker("unsubscribe")
def test_a_member_leaves_in_an_outage(scene: Scene) -> None:
    """What it could not settle stays in its session, since nobody else would be given it; it says how much that is."""
    scene.ledger.ordered = False
    member(scene, 0)
    leaves = member(scene, 1)
    scene.join(scaled(20, 200))
    scene.cloud.judge = always(DOWN)
    scene.beat(5)
    scene.until_confirmed()
    scene.until(lambda: leaves.metrics()["unacknowledged_messages"] > 0, "it has no share")
    assert leaves.terminate() == 0
    left = leaves.said(LEFT)["left_behind"]
    assert left > 0
    scene.cloud.judge = fine
    scene.beat(5)
    scene.until(lambda: scene.ledger.open == left, "others than those left behind are open")
    leaves.start()
    scene.until_through()
    assert scene.close_books(f"left behind {left}").duplicates == 0
