"""The address and logins of a running broker, free ports, and whether listeners answer.

It must never start or stop anything.
"""

import os
import random
import socket
from dataclasses import dataclass

from gateway.mqtt import MQTT_3_1_1, MQTT_5, speaks_mqtt

_PORTS = range(20_000, 32_000)
"""Below the ports that Linux and macOS give to outgoing connections: these cannot take the port of a broker that is
down between two runs."""
_RANDOM = random.SystemRandom()  # with a seed that somebody set, two processes would get the same ports


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """The user name and password of a CONNECT packet. `repr` does not show the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"BrokerLogin({self.user!r})"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """How clients reach one running broker."""

    kind: str
    """As a text for people: "mosquitto 2.0.11", "embedded (rumqttd)"."""
    host: str
    gateway_port: int
    """MQTT 5. A client keeps its client id."""
    device_port: int
    """MQTT 3.1.1. Mosquitto accepts MQTT 5 here too, and uses the user name as the client id."""
    gateway: BrokerLogin
    operator: BrokerLogin
    has_acl: bool
    """False: every client may do everything, under any user name."""
    keeps_data: bool
    """Whether sessions, queues and retained messages survive a restart."""
    drops_properties: bool = True
    """Whether an MQTT 3.1.1 client gets a publication without its properties. rumqttd ends instead."""


def free_ports(count: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """`count` different ports of `host` on which nothing listens. Raises OSError if there are not so many.

    DEMO_PORTS=20000-21999 limits the choice. Processes with separate ranges never choose the same port, even while
    nothing listens on it yet. Raises ValueError if it is not a range.
    """
    chosen: list[int] = []
    ports = _ports(os.environ.get("DEMO_PORTS", ""))
    for port in _RANDOM.sample(ports, len(ports)):
        if len(chosen) == count:
            return tuple(chosen)
        if _is_free(host, port):
            chosen.append(port)
    raise OSError(f"no {count} free ports on {host} from {ports.start} to {ports.stop - 1}")


def both_listeners_answer(at: BrokerAddress, timeout: float = 1.0) -> bool:
    """Whether both listeners accept a connection, each with its own version of MQTT and within `timeout` seconds."""
    listeners = ((at.gateway_port, MQTT_5), (at.device_port, MQTT_3_1_1))
    return all(speaks_mqtt(at.host, port, level, timeout=timeout) for port, level in listeners)


def _ports(bounds: str) -> range:
    if not bounds:
        return _PORTS
    first, _, last = bounds.partition("-")
    return range(int(first), int(last) + 1)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
