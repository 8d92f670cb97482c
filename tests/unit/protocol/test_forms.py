"""Payloads by the names of the protocol page, against the vectors: there and back, and where a mistake is."""

import functools
import json
from typing import Any

import msgpack
import pytest

from gateway.errors import DecodeError, MessageError
from gateway.protocol import DECODERS, FORMS, Channel, find_byte, name_elements, pack_elements
from tests.support import vectors

GOOD = vectors.load("messages.json")
# Those of code 4 break a limit that only its layout or its arrival shows.
MALFORMED = [each for each in vectors.load("malformed.json") if each["code"] != 4 and not each["name"].endswith("many")]
WITH_NIL = {"hello-exponent-nil"}


def test_every_channel_but_dead_has_a_form() -> None:
    assert set(FORMS) == set(Channel) - {Channel.DEAD}
    assert set(DECODERS) < set(FORMS)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_payload_becomes_json_and_the_same_payload_again(vector: vectors.Vector) -> None:
    channel, payload = vector["channel"], vectors.payload(vector)
    named = name_elements(channel, payload)
    again = pack_elements(channel, json.loads(json.dumps(named)))
    assert name_elements(channel, again) == named
    if channel in DECODERS:
        assert DECODERS[channel](again) == DECODERS[channel](payload)
    if vector.get("shortest", True) and "known" not in vector and vector["name"] not in WITH_NIL | {"hello-utf-8"}:
        assert again == payload


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_the_array_as_the_page_writes_it_becomes_the_payload(vector: vectors.Vector) -> None:
    if "known" in vector or vector.get("shortest") is False:
        return
    text = json.dumps(vector["value"], default=str)
    value = json.loads(text, object_hook=lambda pairs: pairs["bin"])
    assert pack_elements(vector["channel"], value) == vectors.payload(vector)


@pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector["name"])
def test_what_is_malformed_is_refused_and_has_its_byte(vector: vectors.Vector) -> None:
    channel, payload = vector["channel"], vectors.payload(vector)
    with pytest.raises(DecodeError):
        name_elements(channel, payload)
    assert 0 <= find_byte(payload, lambda part: name_elements(channel, part)) <= len(payload)


@pytest.mark.parametrize(
    ("channel", "payload", "byte"),
    [
        ("hb", "9307c0ff", 3),  # values
        ("hb", "9307", 2),  # ends before its time
        ("hb", "9207c1", 2),  # no msgpack
        ("hb", "910790", 2),  # a second object
        ("hb", "9307c09301a178c3", 5),  # a sample that is text
        ("hello", "920792a131919201a46e616d65", 7),  # a metric's dimension that is a number
        ("hello", "920193a5312e302e309192a3737973c090", 15),  # the name is nil
        ("hello", "920193a2c3c39090", 3),  # no UTF-8
        ("ack", "9305c0ce6b048628", 2),  # the code is nil
        ("plan", "92059193a164009180", 8),  # a definition that is a map
        ("get", "", 0),
    ],
)
def test_the_byte_of_a_mistake_is_where_its_element_begins(channel: str, payload: str, byte: int) -> None:
    data = bytes.fromhex(payload)
    if not data:
        assert name_elements(channel, data) == {"have": 0}
    assert find_byte(data, lambda part: name_elements(channel, part)) == byte


def test_a_payload_of_many_elements_is_looked_through_quickly() -> None:
    payload = msgpack.packb([7, None, [1] * 60_000 + ["x"]])
    calls = 0

    def check(part: bytes) -> None:
        nonlocal calls
        calls += 1
        name_elements("hb", part)

    assert find_byte(payload, check) == 3  # the array that has it
    assert calls <= 10
    assert find_byte(msgpack.packb([7] * 600), check) == 0  # the payload


def nested(depth: int) -> list[Any]:
    return functools.reduce(lambda inner, _: [inner], range(depth), [])


@pytest.mark.parametrize(
    ("channel", "value", "said"),
    [
        ("hb", {"tag": 1, "tme": 2}, "hb: 'tme' is none of its elements (tag, time, values"),
        ("hb", {"tag": 1, "layout": {"agent_version": "1"}}, "'tag' is none of its elements (layout, time"),
        ("hb", {"tag": 2**64}, "an int that msgpack does not have"),
        ("hb", {"tag": "\ud800"}, "text that cannot be UTF-8"),
        ("hb", [1, None, nested(2000)], "hb: nested too deeply"),
        ("block", [1, 0, 0, 3, "xyz"], "data: 'xyz' where hex digits belong"),
    ],
)
def test_what_cannot_be_packed_is_named(channel: str, value: object, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        pack_elements(channel, value)
    assert said in caught.value.detail


def test_the_words_of_numbers_are_the_apis() -> None:
    plan = {"digest": 4, "deployments": [{"deployment": "d", "policy": "DO_NOTHING", "definitions": None}]}
    assert pack_elements("plan", plan) == msgpack.packb([4, [["d", 1]]])
    assert pack_elements("plan", None) == b""
    assert name_elements("plan", b"") is None
