"""Which devices: names held to the service's limits, one by one or from a CSV file.

It must never let a name pass that could stand for another's: what is refused here reaches no password file, no
certificate and no ACL.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from gateway.errors import LimitError, ProvisioningError
from gateway.protocol.limits import DEVICE_FLEET_NAME, DEVICE_NAME

HEADER = ["fleet", "device"]


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """One device. `user`: its MQTT user name and the common name of its certificate; `stem`: of its files' names.

    Names hold no slash and no dot, so neither stands for two devices. Raises LimitError.
    """

    fleet: str
    device: str

    def __post_init__(self) -> None:
        DEVICE_FLEET_NAME.check(self.fleet, "fleet")
        DEVICE_NAME.check(self.device, "device")

    @classmethod
    def of_user(cls, user: str) -> Self | None:
        """The device of that user name; None where it is none, as `gateway`."""
        fleet, _, device = user.partition("/")
        try:
            return cls(fleet, device)
        except LimitError:
            return None

    @property
    def user(self) -> str:
        return f"{self.fleet}/{self.device}"

    @property
    def stem(self) -> str:
        return f"{self.fleet}.{self.device}"


PROBE = Device("doctor", "probe")
"""The identity of `edge-gateway doctor`, with which it tries what a device may. It is at no manager and in no list."""


def chosen(fleet: str, names: Iterable[str]) -> list[Device]:
    """Raises SiteError that tells of each name that is none."""
    return _checked((f"{fleet}/{name}", [fleet, name]) for name in names)


def from_csv(lines: Iterable[str]) -> list[Device]:
    """`fleet,device` on each line, under a header or not.

    Raises SiteError that tells of each line that cannot be used; a device that comes twice is one of them.
    """
    try:
        rows = [(f"line {number}", [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(lines), 1)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProvisioningError(f"it cannot be read as CSV: {error}") from error
    body = [(where, row) for where, row in rows if any(row)]
    return _checked(body[1:] if body and body[0][1] == HEADER else body)


def _checked(rows: Iterable[tuple[str, list[str]]]) -> list[Device]:
    """(where, cells) each."""
    found: dict[Device, str] = {}
    mistakes: list[str] = []
    for where, cells in rows:
        try:
            device = _device(cells)
        except LimitError as error:
            mistakes.append(f"{where}: {error}")
        else:
            if device == PROBE:
                mistakes.append(f"{where}: {device.user} is the doctor's own")
            if device in found:
                mistakes.append(f"{where}: {device.user} stands there twice, first in {found[device]}")
            found.setdefault(device, where)
    if mistakes:
        raise ProvisioningError("; ".join(mistakes))
    if not found:
        raise ProvisioningError("it names no device")
    return list(found)


def _device(cells: list[str]) -> Device:
    if len(cells) != len(HEADER):
        raise LimitError(f"{len(cells)} columns, must be {','.join(HEADER)}")
    return Device(*cells)
