"""rumqttd, the broker in the wheel `iotcore`, as a child process, for machines without Mosquitto.

It has no ACL, checks no password and keeps no data, so a site must never use it. Two more limits of rumqttd 0.20: it
closes the connection of a client id with a slash or a wildcard; and a client id that reconnects before the broker has
noticed the end of the last connection can make a listener panic, which then rejects all clients.
"""

import importlib.util
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin, free_ports
from gateway.demo.brokers.process import ManagedBroker
from gateway.mqtt import MQTT_3_1_1, MQTT_5

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

# A listener speaks one version of MQTT. The payload limit is above the 1 MB that the gateway must be able to reject.
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
    """rumqttd's configuration as TOML."""
    return (
        _ROUTER
        + _LISTENER.format(level=MQTT_5, host=host, port=gateway_port)
        + _LISTENER.format(level=MQTT_3_1_1, host=host, port=device_port)
    )


class Rumqttd(ManagedBroker):
    """rumqttd on free ports of loopback. It checks no password. A restart keeps only the ports."""

    def __init__(self, directory: Path) -> None:
        gateway_port, device_port = free_ports(2, HOST)
        self._toml = directory / "rumqttd.toml"
        address = BrokerAddress(
            kind="embedded (rumqttd)",
            host=HOST,
            gateway_port=gateway_port,
            device_port=device_port,
            gateway=_login("gateway"),
            operator=_login("operator"),
            has_acl=False,
            keeps_data=False,
            drops_properties=False,
        )
        command = [sys.executable, "-m", "gateway.demo.brokers.rumqttd", str(self._toml)]
        super().__init__(address, command, directory / "log")

    def _write_files(self) -> None:
        at = self.address
        self._toml.write_text(configuration(at.host, at.gateway_port, at.device_port))

    def add_users(self, users: Iterable[str]) -> dict[str, BrokerLogin]:
        return {user: _login(user) for user in users}


def _login(user: str) -> BrokerLogin:
    return BrokerLogin(user, "unchecked")


def main() -> None:
    """The child process: run the broker until a signal ends it."""
    from iotcore.iotcore import IotCoreBroker

    logging.basicConfig(level=logging.WARNING)
    # It opens a span at level ERROR for each packet. Each would be logged as an error.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
