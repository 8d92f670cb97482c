"""What CONNACK grants, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt import packets
from gateway.mqtt.limits import NO_PACKET_LIMIT, SUBSCRIBE_BYTES, BrokerLimits

EVERYTHING = {
    "SessionExpiryInterval": 60,
    "ReceiveMaximum": 20,
    "MaximumQoS": 0,
    "RetainAvailable": 0,
    "MaximumPacketSize": 4096,
    "TopicAliasMaximum": 10,
    "WildcardSubscriptionAvailable": 0,
    "SubscriptionIdentifierAvailable": 0,
    "SharedSubscriptionAvailable": 0,
    "ServerKeepAlive": 10,
}


def test_every_property_is_read() -> None:
    limits = BrokerLimits.from_connack(EVERYTHING, keepalive=30, session_expiry=3600)
    assert limits == BrokerLimits(10, 60, 20, 0, False, 4096, 10, False, False, False)


def test_what_is_absent_has_the_default_of_mqtt_5() -> None:
    limits = BrokerLimits.from_connack({}, keepalive=30, session_expiry=3600)
    assert limits == BrokerLimits(30, 3600, 65_535, 2, True, NO_PACKET_LIMIT, 0, True, True, True)


@pytest.mark.parametrize(("server", "in_use"), [(10, 10), (30, 30), (60, 30), (0, 30)])
def test_the_shorter_keep_alive_is_in_use(server: int, in_use: int) -> None:
    """A longer one is kept too, and none would leave a dead broker unnoticed."""
    assert BrokerLimits.from_connack({"ServerKeepAlive": server}, 30, 0).keepalive == in_use


def test_a_zero_that_mqtt_forbids_stops_nothing() -> None:
    limits = BrokerLimits.from_connack({"ReceiveMaximum": 0, "MaximumPacketSize": 0}, 30, 0)
    assert (limits.receive_maximum, limits.maximum_packet_size) == (65_535, NO_PACKET_LIMIT)


@given(st.one_of(st.integers(20, 300), st.integers(16_300, 16_500), st.integers(2_097_100, 2_097_200)))
def test_the_room_of_a_publication_is_exact(largest: int) -> None:
    room = BrokerLimits(maximum_packet_size=largest).publication_room
    topic = "edge/f/d/ack"[: room - 1]
    fits, exceeds = (packets.publish(topic, bytes(room - len(topic) + more), 1, False, b"") for more in (0, 1))
    assert len(fits) <= largest < len(exceeds)


@given(st.lists(st.text(min_size=1, max_size=50), min_size=1, max_size=50), st.integers(20, 500))
def test_filters_are_split_so_that_each_packet_fits(filters: list[str], largest: int) -> None:
    parts = [filters[part] for part in BrokerLimits(maximum_packet_size=largest).batches(filters)]
    assert [each for part in parts for each in part] == filters
    for part in parts:
        size = SUBSCRIBE_BYTES + sum(3 + len(each.encode()) for each in part)
        assert size <= largest or len(part) == 1
