"""Fixtures of the integration tests: testbeds, a site with TLS, S3, a manager."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto, version
from gateway.doctor.checks.broker import is_mosquitto_2_1
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.manager_process import Manager
from tests.support.needs import program
from tests.support.s3 import S3Proxy, S3Server
from tests.support.site import SiteBroker


@pytest.fixture(scope="module")
def make_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeTestbed]:
    """Makes testbeds that end with the module."""
    with ExitStack() as cleanup:
        yield lambda broker, fleet: _testbed(broker, fleet, tmp_path_factory.mktemp(fleet), cleanup)


@pytest.fixture
def testbed(broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Testbed]:
    """For one test, without a gateway yet, in the broker of the session."""
    with ExitStack() as cleanup:
        yield _testbed(broker, _fleet_of(request), tmp_path / "state", cleanup)


@pytest.fixture
def own_testbed(own_mosquitto: Mosquitto, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Testbed]:
    """For one test, without a gateway yet, in a Mosquitto of its own."""
    with ExitStack() as cleanup:
        yield _testbed(own_mosquitto, _fleet_of(request), tmp_path / "state", cleanup)


def _testbed(broker: Broker, fleet: str, state: Path, cleanup: ExitStack) -> Testbed:
    return Testbed(broker, fleet, state, cleanup.enter_context(RecordingEdgeManager()), cleanup)


def _fleet_of(request: pytest.FixtureRequest) -> str:
    """A fleet for each test: the broker of the session keeps what earlier tests left."""
    number = list(request.session.items).index(request.node)
    return f"fleet-{number}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteBroker]:
    """One site for a file's tests: a Mosquitto with every shipped listener, and the identities of `devices init`."""
    with SiteBroker(tmp_path_factory.mktemp("site"), program("mosquitto")) as running:
        yield running


@pytest.fixture(scope="module")
def newer() -> bool:
    """Whether this machine has Mosquitto 2.1 or later."""
    name, number = version(program("mosquitto")).split()
    return is_mosquitto_2_1(f"{name} version {number}") is True


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One S3 for all tests, which have a bucket each."""
    with S3Server() as running:
        yield running


@pytest.fixture
def s3_proxy(testbed: Testbed, s3: S3Server) -> Iterator[S3Proxy]:
    """In front of S3, for one test; the bucket is named as the fleet."""
    s3.make(testbed.fleet)
    with S3Proxy(s3.host, s3.port) as made:
        yield made


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """On a port of its own, which it keeps over its restarts."""
    (port,) = free_ports(1)
    made = Manager(tmp_path / "manager", ["--port", str(port)])
    try:
        made.start()
        yield made
    finally:
        made.stop()
