"""Chooses the broker for the demo and the tests: Mosquitto if it is installed, else rumqttd.

It must never touch a broker that somebody else runs. The brokers listen on loopback only.
"""

import shutil
from pathlib import Path

from gateway.demo.brokers import rumqttd
from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.brokers.mosquitto import SHIPPED, Mosquitto
from gateway.demo.brokers.process import Broker, ManagedBroker
from gateway.demo.brokers.rumqttd import Rumqttd
from gateway.errors import GatewayError

__all__ = ["Broker", "BrokerAddress", "BrokerLogin", "ManagedBroker", "NoBrokerError", "find_broker"]

_ADMIN_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Folders for programs of administrators, which are not on the PATH of other users."""


class NoBrokerError(GatewayError):
    """No broker is installed. The message says what to install."""


def find_broker(directory: Path) -> ManagedBroker:
    """The broker to use on this machine, not started yet. It keeps its files in `directory`.

        with find(directory) as broker:
            connect(broker.address.host, broker.address.device_port, broker.add_user("fleet-a/dev-1"))

    Raises NoBrokerError.
    """
    binary = mosquitto_binary()
    if binary is not None and SHIPPED.is_dir():
        return Mosquitto(directory, binary)
    if rumqttd.is_installed():
        return Rumqttd(directory)
    raise NoBrokerError(
        "no MQTT broker on this machine: install mosquitto (apt-get install mosquitto, brew install mosquitto) "
        "or the Python package iotcore (pip install iotcore)"
    )


def mosquitto_binary() -> str | None:
    """The path of Mosquitto, None if it is not installed. Debian has it in a folder for administrators."""
    return find_program("mosquitto")


def find_program(name: str, first: str = "") -> str | None:
    """The path of a program: in the folder `first`, on the PATH, or in a folder for administrators. None: not found."""
    in_first = shutil.which(name, path=first) if first else None
    return in_first or shutil.which(name) or shutil.which(name, path=_ADMIN_PATH)
