"""Which broker the tests run against: the first of these that is there.

1. GATEWAY_TEST_BROKER: a URL, mqtt://user:password@host:port (?devices=PORT where theirs is another)
2. a container (testcontainers): the image GATEWAY_TEST_MOSQUITTO_IMAGE with the shipped files
3. `mosquitto` on the PATH, with the shipped files
4. rumqttd from the wheel `iotcore`

What is missing makes a test skip on a laptop and fail where CI is set: a lack must never pass for a success.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import docker
import pytest
from docker.errors import DockerException, ImageNotFound

from gateway.demo import embedded
from gateway.demo.address import Address, Credentials
from gateway.demo.broker import Broker, mosquitto_binary
from gateway.demo.embedded import Embedded
from gateway.demo.mosquitto import Mosquitto
from tests.containers import Container

IMAGE = os.environ.get("GATEWAY_TEST_MOSQUITTO_IMAGE", "eclipse-mosquitto:2.0.22")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set: nothing is skipped)", pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A broker that someone else runs: one user for all, and nothing known of its ACL or its disk."""

    address: Address

    def admit(self, user: str) -> Credentials:
        return self.address.gateway

    def admit_all(self, users: Iterable[str]) -> dict[str, Credentials]:
        return {user: self.admit(user) for user in users}


def foreign(url: str) -> Foreign:
    """Raises ValueError where the URL has no host or another scheme than mqtt."""
    parts = urlsplit(url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise ValueError(f"GATEWAY_TEST_BROKER: {url!r}, must be mqtt://user:password@host:port")
    port = parts.port or 1883
    user = Credentials(unquote(parts.username or "gateway"), unquote(parts.password or ""))
    return Foreign(
        Address(
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


def no_container() -> str | None:
    """Why no container can be had: None where one can. Pulls the image where it must."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException:
        return "no Docker engine answers"
    try:
        client.images.get(IMAGE)
    except ImageNotFound:
        try:
            client.images.pull(IMAGE)
        except DockerException as error:
            return f"no image {IMAGE}: {error}"
    finally:
        client.close()
    return None


def rung() -> str:
    """The name of the broker that `session_broker` takes."""
    if os.environ.get("GATEWAY_TEST_BROKER"):
        return "foreign"
    if no_container() is None:
        return "container"
    if mosquitto_binary():
        return "mosquitto"
    return "embedded" if embedded.is_installed() else "none"


@contextmanager
def session_broker(name: str, directory: Path) -> Iterator[Broker]:
    """The broker of that rung, running."""
    if name == "foreign":
        yield foreign(os.environ["GATEWAY_TEST_BROKER"])
    elif name == "container":
        with Container(IMAGE, directory) as container:
            yield container
    elif name == "mosquitto":
        with Mosquitto(directory, mosquitto_binary() or "mosquitto") as mosquitto:
            yield mosquitto
    elif name == "embedded":
        with Embedded(directory) as broker:
            yield broker
    else:
        missing("no broker: neither a Docker engine, nor mosquitto, nor iotcore")


def own_mosquitto(directory: Path) -> Mosquitto:
    """A Mosquitto on the PATH for one test alone, not started."""
    binary = mosquitto_binary()
    if binary is None:
        missing("mosquitto is not on the PATH")
    return Mosquitto(directory, binary)
