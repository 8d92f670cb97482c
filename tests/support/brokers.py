"""Which broker the tests run against: the first of these that is there.

1. GATEWAY_TEST_BROKER: a URL, mqtt://user:password@host:port (?devices=PORT where theirs is another), or the name of
   one of the following: container, mosquitto, embedded
2. a container (testcontainers): the image GATEWAY_TEST_MOSQUITTO_IMAGE with the shipped files
3. Mosquitto of this machine, with the shipped files
4. rumqttd from the wheel `iotcore`

Nothing is looked for, and no package of Docker's imported, before a test asks for a broker.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers import rumqttd
from gateway.demo.brokers.address import BrokerAddress, BrokerLogin, both_listeners_answer
from gateway.demo.brokers.discovery import Broker, mosquitto_binary
from gateway.demo.brokers.mosquitto import Mosquitto
from gateway.demo.brokers.rumqttd import Rumqttd
from tests.support.arrivals import DEADLINE_S
from tests.support.locks import exclusive
from tests.support.mqtt_client import connected
from tests.support.needs import missing, program, reason

IMAGE = os.environ.get("GATEWAY_TEST_MOSQUITTO_IMAGE", "eclipse-mosquitto:2.0.22")
KINDS = ("container", "mosquitto", "embedded")


@dataclass(frozen=True, slots=True)
class ExternalBroker:
    """A broker that someone else runs: one user for all, and nothing known of its ACL or its disk."""

    address: BrokerAddress

    def add_user(self, user: str) -> BrokerLogin:
        return self.address.gateway

    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]:
        return {user: self.add_user(user) for user in users}


def external_broker(url: str) -> ExternalBroker:
    """Raises ValueError where the URL has no host or another scheme than mqtt."""
    parts = urlsplit(url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise ValueError(f"GATEWAY_TEST_BROKER: {url!r}, must be mqtt://user:password@host:port")
    port = parts.port or 1883
    user = BrokerLogin(unquote(parts.username or "gateway"), unquote(parts.password or ""))
    return ExternalBroker(
        BrokerAddress(
            kind="the broker of GATEWAY_TEST_BROKER",
            host=parts.hostname,
            gateway_port=port,
            device_port=int(parse_qs(parts.query).get("devices", [str(port)])[0]),
            gateway=user,
            operator=user,
            has_acl=False,
            keeps_data=False,
        )
    )


def no_container(image: str = IMAGE) -> str | None:
    """Why no container of the image can be had: None where one can. Pulls it where it must."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        client = docker.from_env()
    except DockerException:
        return reason("no Docker engine answers", "docker")
    try:
        client.ping()
        try:
            client.images.get(image)
        except ImageNotFound:
            client.images.pull(image)
    except DockerException as error:
        return f"no image {image}: {error}"
    finally:
        client.close()
    return None


def broker_kind() -> str:
    """The name of the broker that `session_broker` takes."""
    wanted = os.environ.get("GATEWAY_TEST_BROKER", "")
    if wanted:
        return wanted if wanted in KINDS else "external"
    if no_container() is None:
        return "container"
    if mosquitto_binary():
        return "mosquitto"
    return "embedded" if rumqttd.is_installed() else "none"


def shared_broker_kind(folder: Path) -> str:
    """`broker_kind`, found out once by the first process that asks, for all that share the folder."""
    with exclusive(folder / "broker.lock"):
        session_broker = folder / "broker"
        if not session_broker.exists():
            session_broker.write_text(broker_kind())
        return session_broker.read_text()


@contextmanager
def start_broker(name: str, directory: Path) -> Iterator[Broker]:
    """The broker of that kind, running."""
    directory.mkdir(exist_ok=True)
    if name == "external":
        yield external_broker(os.environ["GATEWAY_TEST_BROKER"])
    elif name == "container":
        from tests.support.containers import Container

        with Container(IMAGE, directory) as container:
            yield container
    elif name == "mosquitto":
        with Mosquitto(directory, mosquitto_binary() or "mosquitto") as mosquitto:
            yield mosquitto
    elif name == "embedded":
        with Rumqttd(directory) as broker:
            yield broker
    else:
        missing("no broker: neither a Docker engine, nor Mosquitto, nor iotcore", "mosquitto")


class SessionBroker:
    """The broker of a session, made when it is first asked for, and again once it does not serve any more."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory
        self._cleanup = ExitStack()
        self._broker: Broker | None = None
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def is_there(self) -> bool:
        return self._broker is not None

    def broker(self) -> Broker:
        """One that serves."""
        if self._broker is not None and not serves(self._broker.address):
            self._broker = None
            self._cleanup.close()
        if self._broker is None:
            self._made += 1
            directory = self._directory / str(self._made)
            self._broker = self._cleanup.enter_context(start_broker(self._name, directory))
        return self._broker

    def check(self) -> None:
        """After a test: one that serves no more starts again on its own ports, where it is a child of ours, so that
        what a module keeps open finds it there."""
        if isinstance(self._broker, Mosquitto | Rumqttd) and not serves(self._broker.address):
            self._broker.kill()
            self._broker.start()


def serves(at: BrokerAddress) -> bool:
    """Whether both listeners answer, and a subscription is answered. On a busy machine that takes its time: a broker
    that is taken for dead is killed, and what it kept for a module's tests is gone."""
    if not both_listeners_answer(at, DEADLINE_S):
        return False
    try:
        with connected(at.host, at.gateway_port, at.gateway, "tests-probe", MQTTProtocolVersion.MQTTv5) as client:
            client.subscribe("edge/probe/probe/hb")
    except (AssertionError, OSError):
        return False
    return True


def fleet_of_a_module(name: str) -> str:
    """Its own in each worker of a run: an external broker is the same one for all of them."""
    return name + os.environ.get("PYTEST_XDIST_WORKER", "")


ABILITIES = {
    "receive_maximum": "goes by an in-flight limit of its own and not by Receive Maximum",
    "holding_publishers": "takes from one client many times what it delivers to another",
    "unsubscribe": "leaves an UNSUBSCRIBE without its answer, or ends the connection",
    "assigning_to_the_absent": "assigns no message to a member of a shared subscription that is away",
}
"""What a test may ask of the session's broker by `needs_broker`, and what a broker does that cannot do it. rumqttd 0.20
(tried) sends a client more than its Receive Maximum, and answers no subscription before all that was taken in; with
some 200 unacknowledged it sends no more, however many the client would take. It does not answer an UNSUBSCRIBE of what
was never subscribed, and closes at one of a shared subscription."""


def require(broker: Broker, *abilities: str) -> None:
    """Skip the test where the broker lacks one. rumqttd lacks them all; of an external one nothing is known."""
    for ability in abilities:
        lack = ABILITIES[ability]
        if isinstance(broker, Rumqttd):
            missing(f"the embedded broker {lack}", "mosquitto")


def own_mosquitto(directory: Path) -> Mosquitto:
    """A Mosquitto for one test alone, not started."""
    return Mosquitto(directory, program("mosquitto"))


class LimitedMosquitto(Mosquitto):
    """One whose configuration says some things otherwise. `lines` replace those of the shipped file that begin with the
    same word; `of_listener` is for the gateway's listener alone."""

    def __init__(self, directory: Path, lines: Iterable[str] = (), of_listener: str = "") -> None:
        self.lines = list(lines)
        self._of_listener = of_listener
        super().__init__(directory, program("mosquitto"))

    def _write_files(self) -> None:
        super()._write_files()
        conf = self._directory / "mosquitto.conf"
        words = {line.split()[0] for line in self.lines}
        kept = [line for line in conf.read_text().splitlines() if line.split(" ")[0] not in words]
        at = kept.index(f"listener {self.address.gateway_port} {self.address.host}") + 1
        conf.write_text("\n".join([*self.lines, *kept[:at], self._of_listener, *kept[at:], ""]))
