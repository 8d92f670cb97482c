"""What to type while `--keep` leaves everything up: commands with the real ports and passwords. Pure."""

from dataclasses import dataclass
from pathlib import Path

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin

BY_HAND = (
    bytes.fromhex("9393ab")
    + b"by hand 1.0"
    + bytes.fromhex("9193a4")
    + b"desk"
    + b"\xabtemperature\xff\x90\xc0\x91\xcc\xd7"
)
"""The heartbeat [["by hand 1.0", [["desk", "temperature", -1]], []], nil, [215]]."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is. `program`: how the command `edge-gateway` is called here; `guest`: a device to play.

    `handle`: what is deployed. `another`: handle and file of what could be. `pages`: the gateway's status pages, a URL.
    """

    at: BrokerAddress
    observer: BrokerLogin
    guest: BrokerLogin
    program: str
    data: Path
    handle: str
    another: tuple[str, Path]
    pages: str


def lines(place: Place) -> list[tuple[str, str]]:
    """(what for, what to type)."""
    at = place.at
    fleet, _, device = place.guest.user.partition("/")
    ear = f"mosquitto_sub -V 5 -h {at.host} -p {at.gateway_port} {_login(place.observer)}"
    mouth = f"mosquitto_pub -h {at.host} -p {at.device_port} {_login(place.guest)} -q 1 -t edge/{place.guest.user}"
    handle, file = place.another
    manager, data = f"{place.program} manager", f"--data {place.data}"
    return [
        ("see every message", f"{ear} -t 'edge/#' -F '%t %x'"),
        (f"be {device}: a heartbeat by hand", f"printf '{_octal(BY_HAND)}' | {mouth}/hb -s"),
        (f"be {device}: ask for its plan", f"{mouth}/get -n"),
        ("what the Edge Manager knows", f"{manager} status {fleet} {data}"),
        ("deploy another model", f"{manager} deploy {fleet} --all {handle}={file} {data}"),
        ("take the first one off", f"{manager} undeploy {fleet} {place.handle} --all {data}"),
        ("the gateway's metrics", f"curl -s {place.pages}metrics"),
    ]


def _login(who: BrokerLogin) -> str:
    return f"-u {who.user} -P {who.password}"


def _octal(data: bytes) -> str:
    """For printf(1): POSIX knows octal escapes and no others."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\%" else f"\\{byte:03o}" for byte in data)
