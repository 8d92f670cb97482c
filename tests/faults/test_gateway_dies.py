"""The gateway is killed, stalled, and asked to end, under load."""

from tests.faults.scene import Scene, scaled
from tests.gateway_process import READY
from tests.stranger import stay_silent


def test_the_gateway_is_killed_every_second(scene: Scene) -> None:
    """What it had not settled comes again; no device notices but by a late ack."""
    gateway = scene.gateway()
    for device in scene.join(scaled(40, 200)):
        scene.ask(device.deployed, f"of-{device.name}")
    scene.load(scaled(300, 500))
    for _ in range(scaled(4, 30)):
        scene.go_on(1.0)
        gateway.kill()
        gateway.start()
    scene.rest()
    scene.until_through()
    gateway.until_metric("unsettled_messages", 0)
    scene.close_books()


def test_a_stop_under_load_repeats_nothing(scene: Scene) -> None:
    """SIGTERM: what is under way ends, so nothing that the cloud accepted is delivered again."""
    gateway = scene.gateway()
    scene.join(scaled(40, 200))
    scene.load(scaled(400, 1000))
    for _ in range(scaled(3, 20)):
        scene.until_accepted(100)
        assert gateway.terminate() == 0
        gateway.said("stopped")
        gateway.start()
    scene.rest()
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
