"""Any device, any channel, any root: a topic goes out and comes back; anything else breaks a limit and nothing more."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LimitError
from gateway.protocol.messages import Device
from gateway.protocol.topics import SHARED_CHANNELS, Channel, Topics, topic_for_same_device
from tests.property.wire_strategies import NAMES

ROOTS = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=3).map("/".join)
DEVICES = st.builds(Device, NAMES.filter(lambda name: len(name) < 64), NAMES.filter(lambda name: len(name) < 64))
CHANNELS = st.sampled_from(list(Channel))


@given(ROOTS, DEVICES, CHANNELS, CHANNELS)
def test_a_formatted_topic_is_parsed_to_the_same_device_and_channel(
    root: str, device: Device, channel: Channel, other: Channel
) -> None:
    topics = Topics(root)
    topic = topics.format(device, channel)
    assert topics.parse(topic) == (device, channel)
    assert topic_for_same_device(topic, other) == topics.format(device, other)


@given(ROOTS, st.text(max_size=40) | st.lists(st.text(max_size=5), max_size=6).map("/".join))
def test_any_topic_is_parsed_or_breaks_a_limit(root: str, tail: str) -> None:
    topics = Topics(root)
    for topic in (tail, f"{root}/{tail}"):
        try:
            device, channel = topics.parse(topic)
        except LimitError as error:
            detail = error.detail
        else:
            assert topics.format(device, channel) == topic
            continue
        assert detail.isprintable()


@given(ROOTS, DEVICES, CHANNELS)
def test_one_filter_at_most_matches_a_topic(root: str, device: Device, channel: Channel) -> None:
    topics = Topics(root)
    topic = topics.format(device, channel)
    filters = topics.filters((), None) + topics.hello_filters(())
    matching = [each for each in filters if re.fullmatch(re.escape(each).replace(r"\+", "[^/]+"), topic)]
    assert len(matching) == (channel in (*SHARED_CHANNELS, Channel.HELLO))
