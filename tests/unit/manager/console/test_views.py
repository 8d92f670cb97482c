"""What views share: links, numbers of a query, files, and the word that confirms a large change."""

import csv
import io
import json

import pytest

from gateway.manager.console.errors import PageError
from gateway.manager.console.views import ViewRequest, downloaded, link_to, needs_word, path_to, require_word
from gateway.manager.console.visitors import Viewer


def request(**query):
    return ViewRequest(Viewer("", "admin", ""), store=None, operations=None, now=0.0, path="/audit", query=query)


def test_links_carry_any_text():
    assert path_to("devices", "f", "a/b?c#d\u00e9") == "/devices/f/a%2Fb%3Fc%23d%C3%A9"
    assert link_to("/devices", fleet="a&b", state=None) == "/devices?fleet=a%26b"
    assert link_to("/devices", state=None) == "/devices"


def test_the_link_of_the_next_page_keeps_what_else_was_asked():
    assert request(fleet="f", before="9").link(before=5) == "/audit?fleet=f&before=5"
    assert request(before="9").link(before=None) == "/audit"


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", "\u0663", "9" * 19])
def test_what_is_no_number_is_an_error_of_the_address(text):
    with pytest.raises(PageError) as caught:
        request(before=text).number("before")
    assert caught.value.status == 400


def test_a_number():
    assert (request(before="17").number("before"), request().number("before", 3)) == (17, 3)


ROWS = [{"name": "=1+1", "value": -1.5, "more": {"a": 1}}, {"name": 'a,"b"', "value": None, "more": None}]


def test_a_spreadsheet_computes_nothing_of_a_text():
    done = downloaded("csv", "x", ROWS, ("name", "value", "more"))
    assert list(csv.reader(io.StringIO(done.body.decode()))) == [
        ["name", "value", "more"],
        ["'=1+1", "-1.5", '{"a": 1}'],
        ['a,"b"', "", ""],
    ]
    assert done.name == "x.csv"


def test_json_has_the_columns_that_are_asked_for():
    assert json.loads(downloaded("json", "x", ROWS, ("value",)).body) == [{"value": -1.5}, {"value": None}]


def test_another_format_is_an_error():
    with pytest.raises(PageError):
        downloaded("xlsx", "x", ROWS, ("name",))


def test_a_large_change_needs_its_word():
    require_word({}, 100, "barn")
    require_word({"confirm": " barn "}, 101, "barn")
    for form in ({}, {"confirm": "Barn"}):
        with pytest.raises(PageError):
            require_word(form, 101, "barn")
    assert (needs_word(100), needs_word(101)) == (False, True)
