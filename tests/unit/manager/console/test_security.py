"""Whose form it is, which names the console has, and where a form may lead."""

import pytest

from gateway.manager.console.requests import ConsoleRequest
from gateway.manager.console.security import (
    form_token,
    is_form_token,
    is_own_name,
    is_same_origin,
    local_target,
    signed,
    unsigned,
)


@pytest.mark.parametrize("host", ["localhost", "localhost:9471", "127.0.0.1:9471", "[::1]:9471", "127.8.0.1"])
def test_names_of_this_machine(host):
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "localhost.evil.example:9471", "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "[", "a@b:c"],
)
def test_other_names(host):
    assert not is_own_name(host)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"origin": "http://a:9471"}, True),
        ({"origin": "https://a:9471", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://a"}, False),
        ({"origin": "http://evil"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://a:9471"}, False),
        ({"sec-fetch-site": "none"}, False),
    ],
)
def test_a_form_of_another_site_is_known(headers, expected):
    given = {"host": ["a:9471"]} | {name: [value] for name, value in headers.items()}
    assert is_same_origin(ConsoleRequest("POST", "/", 0.0, headers=given)) is expected


def test_a_token_fits_its_cookie_alone():
    assert is_form_token(form_token("one"), "one")
    assert not is_form_token(form_token("one"), "two")
    assert not is_form_token("", "one")
    assert not is_form_token("\u00e9", "one")
    assert not is_form_token(form_token("one"), None)


def test_a_message_that_somebody_else_made_is_not_shown():
    value = signed("done", "one")
    assert unsigned(value, "one") == "done"
    for wrong, secret in ((value, "two"), (value, None), (value + "!", "one"), (form_token("one") + "form2", "one")):
        assert unsigned(wrong, secret) is None


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil", "https://evil", "javascript:alert(1)", "", "evil", "/a\r\nb", "/a b", "/\t/evil"],
)
def test_a_form_leads_to_no_other_site(target):
    assert local_target(target) == "/"


def test_a_form_leads_to_a_page_here():
    assert local_target("/devices?fleet=a&state=never+heard") == "/devices?fleet=a&state=never+heard"
