"""Names of devices: checked against the service's limits, given one by one or in a CSV file.

It must never accept a name that could mean another device: such a name must not get into a password file, a certificate
or an ACL. Names hold no slash and no dot, so user names and file names are unique.
"""

import csv
from collections.abc import Iterable

from gateway.errors import LimitError, ProvisioningError
from gateway.protocol import Device

HEADER = ["fleet", "device"]
ALLOWED = ". A name has 1 to 63 letters, digits, - and _, a letter or digit first and last, and no - after a _"
PROBE = Device("doctor", "probe")
"""The device that `edge-gateway doctor` connects as, to test the rights of a device. No manager and no list has it."""


def file_stem(device: Device) -> str:
    """The name of a device's files, without suffix."""
    return f"{device.fleet}.{device.name}"


def devices_of_users(users: Iterable[str]) -> set[Device]:
    """The devices among MQTT user names. `gateway` is none."""
    devices = set()
    for user in users:
        fleet, _, name = user.partition("/")
        try:
            devices.add(Device(fleet, name))
        except LimitError:
            continue
    return devices


def in_order(devices: Iterable[Device]) -> list[Device]:
    """Sorted by fleet, then by name."""
    return sorted(devices, key=lambda device: (device.fleet, device.name))


def devices_named(fleet: str, names: Iterable[str]) -> list[Device]:
    """Raises ProvisioningError with every mistake."""
    return _parse_rows((f"{fleet}/{name}", [fleet, name]) for name in names)


def devices_from_csv(lines: Iterable[str]) -> list[Device]:
    """Read lines `fleet,device`; a header is optional. Raises ProvisioningError with every mistake."""
    try:
        rows = [(f"line {number}", [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(lines), 1)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProvisioningError(f"it cannot be read as CSV: {error}") from error
    body = [(place, row) for place, row in rows if any(row)]
    return _parse_rows(body[1:] if body and body[0][1] == HEADER else body)


def _parse_rows(rows: Iterable[tuple[str, list[str]]]) -> list[Device]:
    """A row is its place, for the error text, and its cells."""
    places: dict[Device, str] = {}
    mistakes: list[str] = []
    rule = ""
    for place, cells in rows:
        if len(cells) != len(HEADER):
            mistakes.append(f"{place}: {len(cells)} columns, must be {','.join(HEADER)}")
            continue
        try:
            device = Device(*cells)
        except LimitError as error:
            mistakes.append(f"{place}: {error}")
            rule = ALLOWED
            continue
        if device == PROBE:
            mistakes.append(f"{place}: {device} is the doctor's own")
        if device in places:
            mistakes.append(f"{place}: {device} is there twice, first in {places[device]}")
        places.setdefault(device, place)
    if mistakes:
        raise ProvisioningError("; ".join(mistakes) + rule)
    if not places:
        raise ProvisioningError("it names no device")
    return list(places)
