"""What the addresses of a host name make of a result."""

import pytest

from gateway.doctor.checks.addresses import AddressResult, with_addresses
from gateway.doctor.result import CheckResult, Level, failed, passed

REACHED = AddressResult("192.0.2.1")
REFUSES = AddressResult("192.0.2.2", "nobody listens there")
SILENT = AddressResult("192.0.2.3", "no answer in 5 s", silent=True)
PASSED = passed("broker", "broker:1883 is reached")
FAILED = failed("broker", "broker:1883: nobody listens there", "start the broker")


@pytest.mark.parametrize(
    ("result", "addresses", "level", "found"),
    [
        (PASSED, (), Level.PASS, PASSED.found),
        (PASSED, (REACHED,), Level.PASS, PASSED.found),
        (PASSED, (REACHED, REACHED), Level.PASS, PASSED.found),
        (PASSED, (REFUSES, REACHED), Level.PASS, "(192.0.2.2: nobody listens there, 192.0.2.1: reached)"),
        (PASSED, (SILENT, REACHED), Level.WARN, "(192.0.2.3: no answer in 5 s, 192.0.2.1: reached)"),
        (FAILED, (REFUSES,), Level.FAIL, FAILED.found),
        (FAILED, (REFUSES, SILENT), Level.FAIL, "192.0.2.3: no answer in 5 s)"),
    ],
    ids=range(7),
)
def test_each_address_is_reported_where_one_is_not_reached(
    result: CheckResult, addresses: tuple[AddressResult, ...], level: Level, found: str
) -> None:
    reported = with_addresses(result, addresses)
    assert reported.level is level
    assert reported.found.endswith(found)
    assert bool(reported.todo) == (level is not Level.PASS)
