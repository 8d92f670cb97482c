"""rumqttd, the broker in the wheel `iotcore`, as a child process: for machines without Mosquitto.

It has no ACL, asks no password and forgets all when it ends, so it must never be taken for a deployment. Two more
things to know (rumqttd 0.20): a client id with a slash or a wildcard is refused by closing the connection, and a client
id that connects anew before the broker has noticed the end of its last connection can make a listener panic, and then
refuse everyone.
"""

import importlib.util
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.demo.brokers.address import Address, Credentials, both_answer, free_ports
from gateway.demo.brokers.process import Child
from gateway.mqtt.probe import MQTT_3_1_1, MQTT_5

HOST = "127.0.0.1"

_ROUTER = """\
id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
"""

# A listener speaks one version of MQTT. The payload limit is above the 1 MB that the gateway must be able to refuse.
_LISTENER = """
[v{level}.1]
name = "v{level}"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v{level}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2097152
max_inflight_count = 500
dynamic_filters = true
"""


def is_installed() -> bool:
    return importlib.util.find_spec("iotcore") is not None


def configuration(host: str, gateway_port: int, device_port: int) -> str:
    """rumqttd's TOML."""
    return (
        _ROUTER
        + _LISTENER.format(level=MQTT_5, host=host, port=gateway_port)
        + _LISTENER.format(level=MQTT_3_1_1, host=host, port=device_port)
    )


class Embedded:
    """rumqttd on free ports of loopback. Used like `Mosquitto`; a restart keeps the ports and nothing else."""

    def __init__(self, directory: Path) -> None:
        gateway_port, device_port = free_ports(2, HOST)
        self._toml = directory / "rumqttd.toml"
        self.address = Address(
            kind="embedded (rumqttd)",
            host=HOST,
            gateway_port=gateway_port,
            device_port=device_port,
            gateway=self.admit("gateway"),
            operator=self.admit("operator"),
            has_acl=False,
            keeps_data=False,
        )
        command = [sys.executable, "-m", "gateway.demo.brokers.rumqttd", str(self._toml)]
        self._child = Child(self.address.kind, command, directory / "log")

    def __repr__(self) -> str:
        return f"<Embedded on {self.address.host}:{self.address.device_port}, {self._child!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Raises ChildError where it does not run."""
        return self._child.process.pid

    def start(self) -> None:
        """Return once both listeners answer. Raises ChildError, with the broker's log, if they do not."""
        at = self.address
        self._toml.write_text(configuration(at.host, at.gateway_port, at.device_port))
        self._child.start(lambda: both_answer(self.address))

    def stop(self) -> None:
        self._child.stop()

    def kill(self) -> None:
        self._child.kill()

    def admit(self, user: str) -> Credentials:
        """It lets everyone in; the password is a word that says so."""
        return Credentials(user, "unchecked")

    def admit_reader(self, user: str) -> Credentials:
        return self.admit(user)

    def admit_all(self, users: Iterable[str]) -> dict[str, Credentials]:
        return {user: self.admit(user) for user in users}


def main() -> None:
    """The child itself: run the broker until a signal ends it."""
    from iotcore.iotcore import IotCoreBroker

    logging.basicConfig(level=logging.WARNING)
    # It opens a span at level ERROR for each packet, which would be logged as an error.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
