"""The settings of the console: what cannot work is refused, and whose headers are believed."""

import pytest

from gateway.manager import ManagerError
from gateway.manager.console import ConsoleConfig


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"port": 65536}, "--console-port 65536 is not a port"),
        ({"trust_header": "X User"}, "--trust-header 'X User' is not a header"),
        ({"role_header": "X-Role"}, "--trust-role-header needs --trust-header"),
        ({"trust_header": "X-User", "role_header": ""}, "--trust-role-header '' is not a header"),
        ({"trust_role": "gateway"}, "--trust-role 'gateway' is none: should be viewer, operator, admin"),
        ({"trust_from": ["here"]}, "--trust-from 'here': should be an address or a network"),
        ({"trust_from": ["10.0.0.1/8"]}, "--trust-from '10.0.0.1/8'"),
    ],
)
def test_what_cannot_work_is_refused(settings, text):
    with pytest.raises(ManagerError) as caught:
        ConsoleConfig(**settings)
    assert text in str(caught.value)


def test_headers_are_believed_from_loopback_or_the_addresses_that_are_named():
    assert [ConsoleConfig().trusts(each) for each in ("127.0.0.1", "::1", "10.1.2.3", "")] == [True, True, False, False]
    config = ConsoleConfig(trust_from=["10.1.0.0/16"])
    assert [config.trusts(each) for each in ("127.0.0.1", "10.1.2.3")] == [False, True]
