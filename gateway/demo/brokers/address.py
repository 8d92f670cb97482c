"""Where a broker is and who may speak to it: values, and whether its ports are free or answer.

It must never start or stop anything.
"""

import os
import random
import socket
from dataclasses import dataclass

from gateway.mqtt.probe import MQTT_3_1_1, MQTT_5, speaks_mqtt

_PORTS = range(20_000, 32_000)
"""Below the ports that Linux and macOS give to outgoing connections: none of those takes a port while its broker is
down between two runs."""
_DRAW = random.SystemRandom()  # a seed that somebody set would give two processes the same ports


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user name and password of a CONNECT packet. `repr` does not show the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


@dataclass(frozen=True, slots=True)
class Address:
    """One running broker, for clients."""

    kind: str
    """For people: "mosquitto 2.0.11", "embedded (rumqttd)"."""
    host: str
    gateway_port: int
    """Speaks MQTT 5; a client keeps its client id."""
    device_port: int
    """Speaks MQTT 3.1.1. In Mosquitto it speaks MQTT 5 too, and the user name becomes the client id."""
    gateway: Credentials
    operator: Credentials
    has_acl: bool
    """False: anyone may do anything under any name."""
    keeps_data: bool
    """Whether sessions, queues and retained messages live through a restart."""


def free_ports(count: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """So many different ports of `host` on which nobody listens. Raises OSError if there are none.

    DEMO_PORTS=20000-21999 bounds them: processes with ranges of their own never draw a port that another one has drawn
    and does not listen on yet, or not at this moment. Raises ValueError where that is no range.
    """
    found: list[int] = []
    ports = _ports(os.environ.get("DEMO_PORTS", ""))
    for port in _DRAW.sample(ports, len(ports)):
        if len(found) == count:
            return tuple(found)
        if _is_free(host, port):
            found.append(port)
    raise OSError(f"no {count} free ports on {host} from {ports.start} to {ports.stop - 1}")


def both_answer(at: Address) -> bool:
    """Whether both listeners of a broker answer, each in its own version of MQTT."""
    return speaks_mqtt(at.host, at.gateway_port, MQTT_5) and speaks_mqtt(at.host, at.device_port, MQTT_3_1_1)


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
