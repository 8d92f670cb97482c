"""Two gateways, one of them killed: by fleets, and with a shared subscription."""

import pytest

from tests.faults.scene import Scene, scaled
from tests.faults.troubles import Trouble, always


def test_two_gateways_by_fleets_and_one_is_killed(scene: Scene) -> None:
    """The other fleet does not notice; what comes meanwhile waits for the gateway's next life."""
    theirs = f"{scene.name}-b"
    killed = scene.gateway()
    scene.gateway(fleets=theirs, state=scene.folder / "other")
    scene.join(scaled(20, 200), prefix="a")
    scene.join(scaled(20, 200), prefix="b", fleet=theirs)
    scene.cloud.judge = always(Trouble(delay=0.1))
    scene.load(scaled(200, 1000))
    for _ in range(scaled(1, 20)):
        scene.until_accepted(40)
        killed.kill()
        scene.until_accepted(scaled(60, 600))
        killed.start()
    scene.rest()
    scene.until_through()
    others = scene.figures("b")
    scene.close_books(f"of the other gateway {others.sent:,}, duplicates {others.duplicates}")
    assert others.duplicates == 0


@pytest.mark.needs_broker("dealing_to_the_absent")
def test_two_gateways_share_a_subscription_and_one_is_killed(scene: Scene) -> None:
    """The broker goes on dealing to the dead one: its share waits until it is back, and the order is lost with it."""
    scene.ledger.ordered = False
    killed = scene.gateway(group="both", client_id=f"{scene.name}-1")
    other = scene.gateway(group="both", client_id=f"{scene.name}-2", state=scene.folder / "other")
    scene.join(scaled(20, 200), asks=False)
    scene.load(scaled(200, 1000))
    scene.until_accepted(40)
    killed.kill()
    scene.until_accepted(scaled(60, 600))
    scene.rest()
    scene.until_confirmed()
    other.until_metric("unacknowledged_messages", 0)
    waiting = scene.ledger.open
    assert waiting > 0
    killed.start()
    scene.until_through()
    scene.close_books(f"waited for the dead one {waiting:,}")
