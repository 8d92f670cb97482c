"""The files of a site by which the doctor tries as a device: the ACL with its entries, and its own device's board."""

from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from secrets import token_urlsafe

from gateway import passwords
from gateway.demo.address import Credentials
from gateway.devices.board import BoardFile
from gateway.devices.files import read
from gateway.devices.site import Site
from gateway.doctor.probe_device import PROBE

UP = ("hello", "hb", "get", "read")
DOWN = ("plan", "ack", "block")
DOCTORS = "topic readwrite edge/doctor/+\n"
USERS = (
    "user gateway\n"
    + "".join(f"topic read edge/+/+/{channel}\n" for channel in UP)
    + "".join(f"topic write edge/+/+/{channel}\n" for channel in (*DOWN, "dead"))
    + DOCTORS
    + "user operator\ntopic read edge/+/+/dead\ntopic read $SYS/broker/#\n"
)
PATTERNS = "".join(f"pattern write edge/%u/{channel}\n" for channel in UP) + "".join(
    f"pattern read edge/%u/{channel}\n" for channel in DOWN
)


def entry(device: str) -> str:
    """As `edge-gateway devices` writes it."""
    up = "".join(f"topic write edge/{device}/{channel}\n" for channel in UP)
    return f"user {device}\n{up}" + "".join(f"topic read edge/{device}/{channel}\n" for channel in DOWN)


def acl(*devices: str) -> str:
    return USERS + "".join(map(entry, devices))


def prepare(site: Path, host: str, port: int) -> None:
    """Whatever `devices init` did not make: an ACL, and the doctor's device at the listener of `host` and `port`."""
    write(site / "broker" / "acl", acl(PROBE.user))
    file = Site(site).passwords()
    board = read(site / "operator" / "probe.json")
    password = BoardFile.from_json(board, PROBE).password if board else token_urlsafe(18)
    file.set(PROBE.user, str(password))
    write(site / "broker" / "passwords", str(file))
    ca = Site(site).authority()
    der = None if ca is None else ca.identity.certificate_der
    (site / "operator" / "probe.json").write_bytes(BoardFile(PROBE, host, port, der, password).to_json())


def plain_board(path: Path, host: str, port: int, login: Credentials) -> Path:
    """A board file of the doctor's device, for a listener without TLS."""
    path.write_bytes(BoardFile(PROBE, host, port, None, login.password).to_json())
    return path


def write(path: Path, text: str) -> None:
    """In place, so that the broker reads it at its next reload; for its own eyes alone."""
    path.touch(mode=0o600)
    path.write_text(text)


def hashed(users: Iterable[str]) -> str:
    """Lines of a password file, with passwords that nobody knows."""
    return "".join(passwords.new_line(user, token_urlsafe(9)) + "\n" for user in users)


def long_salted(user: str) -> str:
    """A line as the mosquitto_passwd of 2.1 writes it."""
    zeros = b64encode(bytes(64)).decode()
    return f"{user}:$7$1000${zeros}${zeros}\n"
