"""Check of the disk of the gateway's state."""

import pytest

from gateway.doctor.checks.disk import RESERVE, DiskSpace, check_disk
from gateway.doctor.result import Level

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (DiskSpace("d", problem="cannot be written"), Level.FAIL),
        (DiskSpace("d", free=100 * MIB - 1), Level.FAIL),
        (DiskSpace("d", free=100 * MIB), Level.WARN),
        (DiskSpace("d", free=100 * MIB + RESERVE), Level.PASS),
        (DiskSpace("d", free=RESERVE, cached=100 * MIB), Level.PASS),
        (DiskSpace("d", free=RESERVE, cached=200 * MIB), Level.PASS),
        (DiskSpace("d", free=RESERVE - 1, cached=100 * MIB), Level.WARN),
    ],
    ids=range(7),
)
def test_the_disk(found: DiskSpace, level: Level) -> None:
    assert check_disk(found, 100 * MIB).level is level
