"""Each reason code has an advice that fits it."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.mqtt.packets import FAILURE
from gateway.mqtt.reasons import CLOSED, REASONS, explain

OURS = {PacketTypes.CONNACK, PacketTypes.PUBACK, PacketTypes.SUBACK, PacketTypes.DISCONNECT}


def test_each_refusal_that_a_broker_can_send_us_has_its_name_and_advice() -> None:
    names = {code: next(iter(each)).split()[0] for code, each in ReasonCode.names.items()}
    sent = {code for code, each in ReasonCode.names.items() if code >= FAILURE and OURS & {*next(iter(each.values()))}}
    assert sent <= set(REASONS)
    assert {code: REASONS[code][0].split()[0] for code in sent} == {code: names[code] for code in sent}


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("another gateway", {0x8E}),
        ("ACL", {0x87}),
        ("max_packet_size", {0x95}),
        ("retain_available", {0x9A}),
        ("max_qos", {0x9B}),
        ("mqtt_password_file", {0x86}),
        ("quota", {0x97}),
    ],
)
def test_an_advice_stands_with_its_own_causes_alone(words: str, codes: set[int]) -> None:
    assert {code for code in range(256) if words in explain(code)} == codes


def test_the_brokers_own_words_are_said() -> None:
    assert explain(0x97, "3 of 3 sessions").startswith("Quota exceeded (0x97, 3 of 3 sessions): ")


def test_a_publication_that_was_given_up() -> None:
    said = explain(CLOSED | 0x9A)
    assert said.startswith(
        "the broker closed the connection twice during this publication: Retain not supported (0x9A)"
    )
    assert "ended three times during this publication; the broker gave no reason" in explain(CLOSED)


def test_a_code_that_nobody_knows() -> None:
    assert explain(0xF0) == "reason unknown to MQTT 5 (0xF0): the broker's log says more"
