"""The whole way under test: a broker, the gateway's process behind it, and a recorder in the cloud's place."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.discovery import Broker
from gateway.demo.brokers.mosquitto import Mosquitto, version
from gateway.doctor.release import is_2_1
from tests.contract.manager.conftest import Manager
from tests.gateway_process import GatewayProcess, settings
from tests.needs import program
from tests.recorder import Recorder
from tests.s3 import Gate, Shelf
from tests.site import SiteBroker
from tests.stranger import MQTT_3, MQTT_5, Login, Operator, Stranger


@dataclass
class Way:
    """One broker, one recorder, one gateway for `fleet`, and whoever connects; `entered` ends them all."""

    broker: Broker
    fleet: str
    state: Path
    recorder: Recorder
    entered: ExitStack
    gateways: list[GatewayProcess] = field(default_factory=list)

    @property
    def gateway(self) -> GatewayProcess:
        """The one that was made last."""
        return self.gateways[-1]

    @property
    def service(self) -> Login:
        """The gateway's own login: the one that may write what devices read."""
        at = self.broker.address
        return Login(at.host, at.gateway_port, at.gateway.user, at.gateway.password)

    def open(self, **more: object) -> GatewayProcess:
        """A gateway with `more` settings, connected and subscribed."""
        made = GatewayProcess(settings(self.broker.address, self.recorder.url, self.fleet, self.state, **more))
        self.gateways.append(made)
        return self.entered.enter_context(made)

    def device(self, name: str, protocol: MQTTProtocolVersion = MQTT_3, qos: int = 1) -> Stranger:
        """A stranger's client, connected and subscribed. A broker without an ACL speaks MQTT 5 at the other door."""
        at = self.broker.address
        port = at.gateway_port if protocol == MQTT_5 and not at.has_acl else at.device_port
        user = f"{self.fleet}/{name}"
        credentials = self.broker.add_user(user)
        login = Login(at.host, port, credentials.user, credentials.password)
        return self.entered.enter_context(Stranger(login, user, protocol, qos))

    def operator(self) -> Operator:
        at = self.broker.address
        login = Login(at.host, at.gateway_port, at.operator.user, at.operator.password)
        return self.entered.enter_context(Operator(login, self.fleet))


MakeWay = Callable[[Broker, str], Way]


@pytest.fixture(scope="module")
def make_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWay]:
    """Makes ways that live as long as the module."""
    with ExitStack() as entered:
        yield lambda broker, fleet: _way(broker, fleet, tmp_path_factory.mktemp(fleet), entered)


@pytest.fixture
def way(broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """For one test, without a gateway yet, in the broker of the session."""
    with ExitStack() as entered:
        yield _way(broker, _fleet_of(request), tmp_path / "state", entered)


@pytest.fixture
def own_way(own_mosquitto: Mosquitto, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """For one test, without a gateway yet, in a Mosquitto of its own."""
    with ExitStack() as entered:
        yield _way(own_mosquitto, _fleet_of(request), tmp_path / "state", entered)


def _way(broker: Broker, fleet: str, state: Path, entered: ExitStack) -> Way:
    return Way(broker, fleet, state, entered.enter_context(Recorder()), entered)


def _fleet_of(request: pytest.FixtureRequest) -> str:
    """A fleet for each test: the broker of the session keeps what earlier tests left."""
    number = list(request.session.items).index(request.node)
    return f"fleet-{number}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteBroker]:
    """One site for a file's tests: a Mosquitto with every shipped door, and the identities of `devices init`."""
    with SiteBroker(tmp_path_factory.mktemp("site"), program("mosquitto")) as running:
        yield running


@pytest.fixture(scope="module")
def newer() -> bool:
    """Whether this machine has Mosquitto 2.1 or later."""
    name, number = version(program("mosquitto")).split()
    return is_2_1(f"{name} version {number}") is True


@pytest.fixture(scope="session")
def shelf() -> Iterator[Shelf]:
    """One S3 for all tests, which have a bucket each."""
    with Shelf() as running:
        yield running


@pytest.fixture
def gate(way: Way, shelf: Shelf) -> Iterator[Gate]:
    """The way to S3, for one test; the bucket is named as the fleet."""
    shelf.make(way.fleet)
    with Gate(shelf.host, shelf.port) as made:
        yield made


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """On a port of its own, which it keeps over its deaths."""
    (port,) = free_ports(1)
    made = Manager(tmp_path / "manager", ["--port", str(port)])
    try:
        made.start()
        yield made
    finally:
        made.stop()
