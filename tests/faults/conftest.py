"""Scenarios in the session's broker or in one of their own, and the table of their figures at the end of the run."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.ledger import Figures
from tests.faults.scenario import Report, Scenario

REPORTED = pytest.StashKey[list[tuple[str, Figures, float, str]]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Keeps a scenario's figures for the table."""
    reported = request.config.stash.setdefault(REPORTED, [])
    return lambda figures, seconds, more: reported.append((request.node.name, figures, seconds, more))


@pytest.fixture
def scenario(broker: Broker, report: Report, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scenario]:
    """In the broker of the session, without a gateway yet."""
    with Scenario(broker, _fleet_of(request), tmp_path, report) as made:
        yield made


@pytest.fixture
def own_scenario(own_mosquitto: Mosquitto, report: Report, tmp_path: Path) -> Iterator[Scenario]:
    """In a Mosquitto of its own, without a gateway yet."""
    with Scenario(own_mosquitto, "faults", tmp_path, report) as made:
        yield made


def _fleet_of(request: pytest.FixtureRequest) -> str:
    """The broker of the session keeps what earlier scenarios left."""
    return f"faults-{list(request.session.items).index(request.node)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reported = config.stash.get(REPORTED, [])
    if not reported:
        return
    terminalreporter.section("the ledgers of the fault scenarios")
    for name, figures, seconds, more in reported:
        counted = ", ".join(f"{word} {value:,}" for word, value in asdict(figures).items())
        terminalreporter.write_line(f"{name}: {counted}, seconds {seconds:.1f}{more and '; ' + more}")
