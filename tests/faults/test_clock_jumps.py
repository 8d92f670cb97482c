"""The gateway's clock is set while it runs: an hour forward, an hour back, days back."""

import pytest

from tests.faults.clocked import JumpingClock
from tests.faults.scene import Scene, scaled

HOUR, DAY = 3600, 86_400


@pytest.fixture
def clock(scene: Scene) -> JumpingClock:
    return JumpingClock(scene.folder / "clock")


def test_the_clock_jumps(scene: Scene, clock: JumpingClock) -> None:
    """What devices dated themselves keeps its dates; no wait of the gateway goes by that clock."""
    scene.gateway(command=clock.command)
    scene.join(scaled(20, 200))
    scene.load(scaled(200, 1000))
    for ahead in (HOUR, -HOUR, 300 * DAY, -HOUR, 0) * scaled(1, 10):
        scene.until_accepted(40)
        clock.jump(ahead)
    scene.until_accepted(40)
    scene.rest()
    scene.until_through()
    assert scene.close_books().told == 0


def test_a_clock_that_the_service_does_not_believe(scene: Scene, clock: JumpingClock) -> None:
    """Signatures of another hour are refused for all calls: an operator must act, and no device hears of it."""
    gateway = scene.gateway(command=clock.command)
    scene.cloud.skew_allowed = 300
    scene.join(scaled(20, 200))
    scene.load(scaled(200, 1000))
    for ahead in (HOUR, -HOUR):
        scene.until_accepted(40)
        clock.jump(ahead)
        scene.until_failed(10)
        gateway.said(
            "Edge Manager rejects our calls (credentials, permissions or endpoint); messages stay queued at the broker"
        )
        clock.jump(0)
        gateway.said("Edge Manager accepts calls again")
    scene.rest()
    scene.until_through()
    assert scene.close_books().told == 0


def test_a_clock_that_is_days_behind_the_devices(scene: Scene, clock: JumpingClock) -> None:
    """A machine without a clock begins in 1970: what is dated years after its arrival is answered, not lost."""
    clock.jump(-scene.now)
    scene.gateway(command=clock.command)
    scene.join(scaled(5, 50))
    scene.beat()
    scene.until_through()
    clock.jump(0)
    scene.beat()
    scene.until_through()
    figures = scene.close_books()
    assert (figures.told, figures.accepted) == (figures.sent // 2, figures.sent // 2)
