"""URLs of brokers: what they mean, and that a mistyped one is never shown."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config import BrokerUrl

SECRET = "hunter2-7f3a"


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("mqtt://broker", BrokerUrl("broker", 1883)),
        ("mqtts://broker/", BrokerUrl("broker", 8883, True)),
        ("MQTT://10.0.0.1:18", BrokerUrl("10.0.0.1", 18)),
        ("mqtt://[::1]:18", BrokerUrl("::1", 18)),
        ("mqtt://fleet-a%2Fdev@b", BrokerUrl("b", 1883, False, "fleet-a/dev")),
        ("mqtts://u:%40%3A%25+@b", BrokerUrl("b", 8883, True, "u", "@:%+")),
        ("mqtt://u:@b", BrokerUrl("b", 1883, False, "u", "")),
    ],
)
def test_urls_of_brokers(url: str, parsed: BrokerUrl) -> None:
    assert BrokerUrl.parse(url) == parsed
    assert BrokerUrl.parse(str(BrokerUrl(parsed.host, parsed.port, parsed.tls))).host == parsed.host


@pytest.mark.parametrize("text", ["/x", "%", "\u2100", "]", " ", "@a", "#", "\n", ":x@y", "\0"])
def test_a_mistyped_url_is_refused_with_a_reason_that_shows_no_part_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"percent-encoded|%-sequence|URL") as caught:
        BrokerUrl.parse(f"mqtt://gw:{SECRET}{text}@broker")
    assert SECRET not in str(caught.value)


@given(st.text(), st.text(min_size=1))
def test_percent_encoded_text_is_decoded(password: str, user: str) -> None:
    assume("\0" not in password + user)
    parsed = BrokerUrl.parse(f"mqtt://{quote(user, safe='')}:{quote(password, safe='')}@broker")
    assert (parsed.username, parsed.password) == (user, password)
    assert repr(parsed) == repr(replace(parsed, password=None))
