"""Which Mosquitto it is, where the doctor could learn it. Pure."""

import re

ENTRIES_2_0 = 20_000
"""Devices from which on Mosquitto 2.0, which reads its acl_file in quadratic time, is deaf for long at a reload."""


def is_2_1(version: str) -> bool | None:
    """Whether "mosquitto version 2.1.2" names 2.1 or later. None: no Mosquitto is named there."""
    found = re.search(r"mosquitto version (\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) >= (2, 1) if found else None


def deaf_seconds(entries: int) -> float:
    """For how long Mosquitto 2.0 reads an acl_file of so many devices: 10,000 took 1.3 s, 30,000 took 12 to 16 s."""
    return 12.3 * (entries / 30_000) ** 2
