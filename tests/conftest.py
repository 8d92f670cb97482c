"""Fixtures that all tests share: the broker of the session, and one that a test may kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.broker import Broker
from gateway.demo.mosquitto import Mosquitto
from tests import brokers

RUNG = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUNG] = brokers.rung()


def pytest_report_header(config: pytest.Config) -> str:
    image = f" ({brokers.IMAGE})" if config.stash[RUNG] == "container" else ""
    return f"broker: {config.stash[RUNG]}{image}"


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests, the best that is there. Each test uses fleet names of its own in it."""
    with brokers.session_broker(pytestconfig.stash[RUNG], tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running Mosquitto of the test's own, with the shipped files, that it may stop, kill and start again."""
    directory = tmp_path / "mosquitto"
    directory.mkdir()
    with brokers.own_mosquitto(directory) as running:
        yield running
