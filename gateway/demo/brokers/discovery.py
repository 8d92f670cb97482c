"""A broker for the demo and for tests: Mosquitto where it is on the PATH, else the embedded one.

It must never touch a broker that someone else runs, and listens on loopback alone.
"""

import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gateway.demo.brokers import rumqttd
from gateway.demo.brokers.address import Address, Credentials
from gateway.demo.brokers.mosquitto import SHIPPED, Mosquitto
from gateway.demo.brokers.rumqttd import Embedded
from gateway.errors import GatewayError

__all__ = ["Address", "Broker", "Credentials", "NoBrokerError", "OwnBroker", "find"]

_ADMINISTRATORS = "/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Folders that are not on the PATH of ordinary users."""


class NoBrokerError(GatewayError):
    """There is none on this machine; the message says what to install."""


class Broker(Protocol):
    """A broker that runs, whoever started it."""

    @property
    def address(self) -> Address: ...

    def admit(self, user: str) -> Credentials:
        """Credentials for a user (a device: `fleet/device`), good from now on."""
        ...

    def admit_all(self, users: Iterable[str]) -> dict[str, Credentials]: ...


class OwnBroker(Broker, AbstractContextManager["OwnBroker"], Protocol):
    """A broker that we start and end. It comes back on the same ports, with its data where `address.keeps_data`."""

    @property
    def pid(self) -> int: ...

    def admit_reader(self, user: str) -> Credentials:
        """Credentials for a user who may read all topics, as no user of a site may."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None:
        """kill -9."""
        ...


def find(directory: Path) -> OwnBroker:
    """The best broker of this machine, not started yet; it will keep its files in `directory`.

        with find(directory) as broker:
            connect(broker.address.host, broker.address.device_port, broker.admit("fleet-a/dev-1"))

    Raises NoBrokerError.
    """
    binary = mosquitto_binary()
    if binary is not None and SHIPPED.is_dir():
        return Mosquitto(directory, binary)
    if rumqttd.is_installed():
        return Embedded(directory)
    raise NoBrokerError(
        "no MQTT broker on this machine: install mosquitto (apt-get install mosquitto, brew install mosquitto) "
        "or the Python package iotcore (pip install iotcore)"
    )


def mosquitto_binary() -> str | None:
    """Where Mosquitto is: on the PATH, or where Debian keeps it off the PATH of ordinary users."""
    return installed("mosquitto")


def installed(name: str, first: str = "") -> str | None:
    """Where a program is: in the folder `first`, on the PATH, or in a folder for administrators. None: nowhere."""
    in_first = shutil.which(name, path=first) if first else None
    return in_first or shutil.which(name) or shutil.which(name, path=_ADMINISTRATORS)
