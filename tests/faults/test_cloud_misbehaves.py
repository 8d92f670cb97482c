"""The cloud fails in every way that a cloud can, for some calls, for some devices, for some time."""

from collections.abc import Iterator

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.faults.scene import Scene, Tell, scaled
from tests.faults.troubles import DOWN, KINDS, Trouble, always, during, fine, only, share


@pytest.fixture(scope="module")
def third(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One gateway and one fleet for all kinds of errors."""
    with Scene(broker, "faults-a-third", tmp_path_factory.mktemp("third")) as made:
        made.gateway(read_timeout=0.3)
        made.join(30)
        made.beat()
        made.until_through()
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_percent_of_all_calls_fail(kind: str, third: Scene, tell: Tell) -> None:
    """Each is repeated until it is accepted. A call whose answer was lost is repeated too, with the same timestamps."""
    third.turn_the_page(tell)
    failed, seen = [], share(KINDS[kind], 0.3)

    def judge(operation: str, device: str) -> Trouble | None:
        trouble = seen(operation, device)
        failed.extend([device] if trouble else [])
        return trouble

    third.cloud.judge = judge
    third.load(300)
    third.go_on(scaled(0.5, 20))
    third.rest()
    third.cloud.judge = fine
    third.until_through()
    assert failed
    assert third.close_books(f"failed calls {len(failed)}").told == 0


def test_all_calls_fail_for_a_while(scene: Scene) -> None:
    """By time, one trouble after another."""
    scene.gateway(read_timeout=0.3)
    scene.join(30)
    scene.load(200)
    for trouble in KINDS.values():
        scene.cloud.judge = during(scaled(0.1, 10), always(trouble))
        scene.go_on(scaled(0.15, 12))
    scene.rest()
    scene.cloud.judge = fine
    scene.until_through()
    assert scene.close_books().told == 0


@pytest.mark.needs_broker("receive_maximum")
def test_one_device_whose_every_call_fails_for_good(scene: Scene) -> None:
    """It is told code 7; all others lose nothing and wait for nobody."""
    scene.gateway(give_up_after=scaled(1, 30))
    (bad,) = scene.join(1, prefix="bad")
    good = scene.join(scaled(20, 200))
    scene.cloud.judge = only({bad.name}, always(DOWN))
    scene.load(100)
    scene.until(lambda: scene.figures("bad").told > 0, "nobody told it code 7")
    scene.rest()
    scene.load(100, good)  # what it sent last is told from an outage by the others' calls alone
    scene.until(lambda: scene.figures("bad").told == scene.figures("bad").sent, "not all of it was told")
    scene.rest()
    scene.until_through()
    figures = scene.close_books(f"told to the bad one {scene.figures('bad').told}")
    others = scene.figures("d-")
    assert (others.told, others.accepted) == (0, others.sent)
    assert figures.told == scene.figures("bad").sent


@pytest.mark.needs_broker("receive_maximum")
def test_a_slow_cloud_under_a_flood(scene: Scene) -> None:
    """One second a call: what waits is merged, as far as the intake lets it wait here."""
    intake, count = 1000, scaled(20, 100)
    scene.gateway(intake=intake)
    scene.join(count)
    scene.cloud.judge = always(Trouble(delay=1.0))
    scene.load(scaled(1500, 2500))
    scene.go_on(scaled(1, 20))
    scene.rest()
    scene.until_through()
    figures = scene.figures()
    ratio = figures.sent / figures.calls
    scene.close_books(f"heartbeats a call {ratio:.1f}, intake over devices {intake / count:.0f}")
    assert ratio > intake / count / 4
