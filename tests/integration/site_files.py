"""The files of a site by which the doctor tries as a device: the ACL with its entries, and its own device's board."""

import json
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from secrets import token_urlsafe

from gateway.demo.brokers.address import BrokerLogin
from gateway.provisioning import password_file
from gateway.provisioning.acl_file import FROM_DEVICE, TO_DEVICE, AclFile
from gateway.provisioning.board_file import BoardFile
from gateway.provisioning.device_names import PROBE

DOCTORS = "topic readwrite edge/doctor/+\n"
USERS = str(AclFile.new("edge"))
PATTERNS = "".join(f"pattern write edge/%u/{channel}\n" for channel in FROM_DEVICE) + "".join(
    f"pattern read edge/%u/{channel}\n" for channel in TO_DEVICE
)
"""What served for all devices before there was an entry for each."""


def acl(*devices: str) -> str:
    """As `edge-gateway devices` writes it."""
    made = AclFile.new("edge")
    for device in devices:
        made.grant(device)
    return str(made)


def entry(device: str) -> str:
    return acl(device).removeprefix(USERS)


def address(site: Path, host: str, port: int) -> None:
    """Have the doctor's probe find its listener at a port that is not the shipped one."""
    path = site / "gateway" / "probe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": host, "port": port}))


def plain_board(path: Path, host: str, port: int, login: BrokerLogin) -> Path:
    """A board file of the doctor's device, for a listener without TLS."""
    path.write_bytes(BoardFile(PROBE, host, port, None, login.password).to_json())
    return path


def write(path: Path, text: str) -> None:
    """In place, so that the broker reads it at its next reload; for its own eyes alone."""
    path.touch(mode=0o600)
    path.write_text(text)


def hashed(users: Iterable[str]) -> str:
    """Lines of a password file, with passwords that nobody knows."""
    return "".join(password_file.new_hash_line(user, token_urlsafe(9)) + "\n" for user in users)


def long_salted(user: str) -> str:
    """A line as the mosquitto_passwd of 2.1 writes it."""
    zeros = b64encode(bytes(64)).decode()
    return f"{user}:$7$1000${zeros}${zeros}\n"
