"""What a device may do, checked."""

from dataclasses import replace

import pytest

from gateway.doctor.checks.device import DeviceTrial, NotTried, Obstacle, check_devices, check_group
from gateway.doctor.result import Level

GOOD = DeviceTrial("doctor/probe", "broker.example", 8883, 0, received=True)
DENIED = 135


@pytest.mark.parametrize(
    ("found", "level", "expected"),
    [
        (GOOD, Level.PASS, "doctor/probe at broker.example:8883"),
        (replace(GOOD, code=16), Level.PASS, ""),
        (replace(GOOD, code=DENIED), Level.FAIL, "doctor/probe writing hello (reason 135)"),
        (replace(GOOD, received=False), Level.FAIL, "doctor/probe reading ack"),
        (replace(GOOD, code=DENIED, received=False), Level.FAIL, "writing hello (reason 135) and reading ack"),
        (replace(GOOD, received=None), Level.WARN, "the gateway's user may not write ack"),
        (replace(GOOD, code=DENIED, received=None), Level.FAIL, "reason 135"),
        (replace(GOOD, written=("a/hello",)), Level.FAIL, "doctor/probe may write a/hello"),
        (replace(GOOD, written=("a", "b"), read=("c",)), Level.FAIL, "may write a, b and read c"),
        (replace(GOOD, received=False, read=("c",)), Level.FAIL, "may read c"),
    ],
    ids=range(10),
)
def test_what_a_device_may_do(found: DeviceTrial, level: Level, expected: str) -> None:
    result = check_devices(found)
    assert result.level is level
    assert expected in result.found
    assert bool(result.todo) is (level is not Level.PASS)
    assert ("devices convert" in result.todo) is (level is Level.FAIL)


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_device_that_could_try_nothing(obstacle: Obstacle) -> None:
    result = check_devices(NotTried(obstacle, "/a/file"))
    assert result.level is (Level.FAIL if obstacle in (Obstacle.NO_TLS, Obstacle.LOGIN) else Level.WARN)
    assert "not tried" in result.found
    assert "/a/file" in result.found
    assert result.todo


def test_a_group_is_as_safe_as_its_name_where_a_device_may_join_it() -> None:
    assert check_group(GOOD).level is Level.WARN
    assert check_group(replace(GOOD, joins_groups=False)).level is Level.PASS
    assert check_group(NotTried(Obstacle.LOGIN, "x")).level is Level.WARN
