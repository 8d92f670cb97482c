"""The service fails in every way that it can, for some calls, for some devices, for some time."""

from collections.abc import Iterator

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.faults.scenario import Report, Scenario, scaled
from tests.faults.service_faults import KINDS, during, only, share
from tests.support.edge_manager import UNAVAILABLE, Reply, Request, accept_all, always


@pytest.fixture(scope="module")
def third(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    """One gateway and one fleet for all kinds of errors."""
    with Scenario(broker, "faults-a-third", tmp_path_factory.mktemp("third")) as made:
        made.gateway(read_timeout=0.3)
        made.join(30)
        made.beat()
        made.until_through()
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_percent_of_all_calls_fail(kind: str, third: Scenario, report: Report) -> None:
    """Each is repeated until it is accepted. A call whose answer was lost is repeated too, with the same timestamps."""
    third.start_over(report)
    failed: list[str] = []
    share_fails = share(KINDS[kind], 0.3)

    def rule(request: Request) -> Reply | None:
        reply = share_fails(request)
        failed.extend([request.device] if reply else [])
        return reply

    third.service.rule = rule
    third.load(300)
    third.run_for(scaled(0.5, 20))
    third.until(lambda: bool(failed), "no call failed")
    third.stop_load()
    third.service.rule = accept_all
    third.until_through()
    assert third.check_ledger(f"failed calls {len(failed)}").errors == 0


def test_all_calls_fail_for_a_while(scenario: Scenario) -> None:
    """By time, one trouble after another."""
    scenario.gateway(read_timeout=0.3)
    scenario.join(30)
    scenario.load(200)
    for reply in KINDS.values():
        scenario.service.rule = during(scaled(0.1, 10), always(reply))
        scenario.run_for(scaled(0.15, 12))
    scenario.stop_load()
    scenario.service.rule = accept_all
    scenario.until_through()
    assert scenario.check_ledger().errors == 0


@pytest.mark.needs_broker("receive_maximum")
def test_one_device_whose_calls_all_fail(scenario: Scenario) -> None:
    """It gets code 7; all others lose nothing and do not wait for it."""
    scenario.gateway(give_up_after=scaled(1, 30))
    (bad,) = scenario.join(1, prefix="bad")
    good = scenario.join(scaled(20, 200))
    scenario.service.rule = only({bad.name}, always(UNAVAILABLE))
    scenario.load(100)
    scenario.until(lambda: scenario.figures("bad").errors > 0, "it got no code 7")
    scenario.stop_load()
    scenario.load(100, good)  # only the others' calls show that there is no outage
    scenario.until(lambda: scenario.figures("bad").errors == scenario.figures("bad").sent, "not all of it got code 7")
    scenario.stop_load()
    scenario.until_through()
    figures = scenario.check_ledger(f"errors of the bad one {scenario.figures('bad').errors}")
    others = scenario.figures("d-")
    assert (others.errors, others.accepted) == (0, others.sent)
    assert figures.errors == scenario.figures("bad").sent


@pytest.mark.needs_broker("receive_maximum")
def test_a_slow_cloud_under_a_flood(scenario: Scenario) -> None:
    """One second a call: what waits is merged, as far as the intake lets it wait here."""
    intake, count = 1000, scaled(20, 100)
    scenario.gateway(intake=intake)
    scenario.join(count)
    scenario.service.rule = always(Reply(delay=1.0))
    scenario.load(scaled(1500, 2500))
    scenario.run_for(scaled(1, 20))
    scenario.stop_load()
    scenario.until_through()
    figures = scenario.figures()
    ratio = figures.sent / figures.calls
    scenario.check_ledger(f"heartbeats a call {ratio:.1f}, intake over devices {intake / count:.0f}")
    assert ratio > intake / count / 4
