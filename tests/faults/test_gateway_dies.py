"""The gateway is killed, stalled, and asked to end, under load."""

from tests.faults.scene import Scene, scaled
from tests.faults.troubles import Trouble, always
from tests.support.gateway_process import READY
from tests.support.plain_device import stay_silent


def test_the_gateway_is_killed_every_second(scene: Scene) -> None:
    """What it had not settled comes again; no device notices but by a late ack."""
    gateway = scene.gateway()
    for device in scene.join(scaled(40, 200)):
        scene.ask(device.deployed, f"of-{device.name}")
    scene.cloud.judge = always(Trouble(delay=0.2))  # so that each death finds calls under way
    scene.load(scaled(250, 500))
    for _ in range(scaled(3, 30)):
        scene.go_on(1.0)
        gateway.kill()
        gateway.start()
    scene.rest()
    scene.until_through()
    gateway.until_metric("unacknowledged_messages", 0)
    assert scene.close_books().duplicates > 0, "no death found a call under way"


def test_a_stop_under_load_repeats_nothing(scene: Scene) -> None:
    """SIGTERM: nothing more is taken in and what is under way ends, so nothing that the cloud accepted is delivered
    again. It ends of itself, before drain_timeout would end it."""
    gateway = scene.gateway()
    scene.join(scaled(40, 200))
    scene.cloud.judge = always(Trouble(delay=0.05))
    scene.load(scaled(400, 1000))
    for _ in range(scaled(2, 20)):
        scene.until_accepted(100)
        assert gateway.terminate() == 0
        assert gateway.said("stopped")["unacknowledged"] == 0
        gateway.start()
    scene.rest()
    scene.until_through()
    assert scene.close_books().duplicates == 0


def test_a_stop_with_a_full_intake_repeats_nothing(scene: Scene) -> None:
    """The broker has more than the gateway takes in: room that comes up while it stops is not filled again."""
    gateway = scene.gateway(intake=30)
    scene.join(scaled(40, 200))
    scene.cloud.judge = always(Trouble(delay=0.1))
    for _ in range(scaled(2, 20)):
        scene.beat(10)
        scene.until_confirmed()
        gateway.until_metric("reading_paused", 1)
        assert gateway.terminate() == 0
        assert gateway.said("stopped")["unacknowledged"] == 0
        gateway.start()
    scene.until_through()
    assert scene.close_books().duplicates == 0


def test_the_gateway_stands_still(scene: Scene) -> None:
    """SIGSTOP for longer than the keepalive allows: the broker throws it out and keeps what comes."""
    gateway = scene.gateway(keepalive=1)
    scene.join(scaled(20, 200))
    scene.load(200)
    scene.until_accepted(20)
    gateway.stall()
    stay_silent(scene.login, 1)
    scene.go_on(scaled(1, 30))
    gateway.wake()
    gateway.said(READY)
    scene.until_accepted(20)
    scene.rest()
    scene.until_through()
    scene.close_books()
