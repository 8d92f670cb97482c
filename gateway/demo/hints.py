"""The commands to try while `--keep` leaves the demo running, with its ports and passwords. Pure."""

from dataclasses import dataclass
from pathlib import Path

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin

HEARTBEAT = b"\x93\x93\xabby hand 1.0\x91\x93\xa4desk\xabtemperature\xff\x90\xc0\x91\xcc\xd7"
"""[["by hand 1.0", [["desk", "temperature", -1]], []], nil, [215]]."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses and logins of all parts.

    `program`: the command `edge-gateway` on this machine. `guest`: the login of a device that the user can act as.
    `data`: the manager's data. `handle`: the deployed model; `another`: handle and file of a second model.
    `status_url`: the gateway's status pages.
    """

    broker: BrokerAddress
    observer: BrokerLogin
    guest: BrokerLogin
    program: str
    data: Path
    handle: str
    another: tuple[str, Path]
    status_url: str


def commands_to_try(addresses: Addresses) -> list[tuple[str, str]]:
    """(purpose, command)."""
    broker, guest = addresses.broker, addresses.guest
    fleet, _, device = guest.user.partition("/")
    subscribe = f"mosquitto_sub -V 5 -h {broker.host} -p {broker.gateway_port} {_options(addresses.observer)}"
    publish = f"mosquitto_pub -h {broker.host} -p {broker.device_port} {_options(guest)} -q 1 -t edge/{guest.user}"
    handle, file = addresses.another
    manager, data = f"{addresses.program} manager", f"--data {addresses.data}"
    return [
        ("see every message", f"{subscribe} -t 'edge/#' -F '%t %x'"),
        (f"be {device}: a heartbeat by hand", f"printf '{_octal(HEARTBEAT)}' | {publish}/hb -s"),
        (f"be {device}: ask for its plan", f"{publish}/get -n"),
        ("the status at the Edge Manager", f"{manager} status {fleet} {data}"),
        ("deploy another model", f"{manager} deploy {fleet} --all {handle}={file} {data}"),
        ("take the first one off", f"{manager} undeploy {fleet} {addresses.handle} --all {data}"),
        ("the gateway's metrics", f"curl -s {addresses.status_url}metrics"),
    ]


def _options(login: BrokerLogin) -> str:
    return f"-u {login.user} -P {login.password}"


def _octal(data: bytes) -> str:
    """For printf(1): POSIX has octal escapes and no others."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\%" else f"\\{byte:03o}" for byte in data)
