"""Scenes for the scenarios, and the table of their figures at the end of the run."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.ledger import Figures
from tests.faults.scene import Scene, Tell

TOLD = pytest.StashKey[list[tuple[str, Figures, float, str]]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Keeps a scenario's figures for the table."""
    told = request.config.stash.setdefault(TOLD, [])
    return lambda figures, seconds, more: told.append((request.node.name, figures, seconds, more))


@pytest.fixture
def scene(broker: Broker, tell: Tell, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """In the broker of the session, without a gateway yet."""
    with Scene(broker, _fleet_of(request), tmp_path, tell) as made:
        yield made


@pytest.fixture
def own_scene(own_mosquitto: Mosquitto, tell: Tell, tmp_path: Path) -> Iterator[Scene]:
    """In a Mosquitto of its own, without a gateway yet."""
    with Scene(own_mosquitto, "faults", tmp_path, tell) as made:
        yield made


def _fleet_of(request: pytest.FixtureRequest) -> str:
    """The broker of the session keeps what earlier scenarios left."""
    return f"faults-{list(request.session.items).index(request.node)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    told = config.stash.get(TOLD, [])
    if not told:
        return
    terminalreporter.section("the ledgers of the fault scenarios")
    for name, figures, seconds, more in told:
        counted = ", ".join(f"{word} {value:,}" for word, value in asdict(figures).items())
        terminalreporter.write_line(f"{name}: {counted}, seconds {seconds:.1f}{more and '; ' + more}")
