"""Topics both ways, the filters that are subscribed, and the ack topic of an invalid sender."""

import pytest

from gateway.errors import LimitError
from gateway.protocol.messages import Device
from gateway.protocol.topics import SHARED_CHANNELS, Channel, Topics, topic_for_same_device

DEVICE = Device("fleet-a", "dev-1")


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("root", ["edge", "site-7/edge", "a/b/c"])
def test_a_formatted_topic_is_parsed_back(root: str, channel: Channel) -> None:
    topics = Topics(root)
    topic = topics.format(DEVICE, channel)
    assert topic == f"{root}/fleet-a/dev-1/{channel.value}"
    assert topics.parse(topic) == (DEVICE, channel)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "edge",
        "edge/fleet-a/dev-1",
        "edge/fleet-a/dev-1/",
        "edge/fleet-a/dev-1/hb/more",
        "edge/fleet-a/dev-1/HB",
        "edge/fleet-a/dev-1/status",
        "edges/fleet-a/dev-1/hb",
        "other/fleet-a/dev-1/hb",
        "/edge/fleet-a/dev-1/hb",
        "edge//dev-1/hb",
        "edge/fleet-a//hb",
        "edge/fleet a/dev-1/hb",
        "edge/fleet-a/dev-1-/hb",
        "edge/fleet-a/-dev/hb",
        "edge/fleet-a/dev_/hb",
        "edge/fleet-a/dev-1\n/hb",
        "edge/fleet-a/größe/hb",
        "edge/fleet-a/" + "d" * 64 + "/hb",
        "edge/" + "f" * 64 + "/dev-1/hb",
    ],
)
def test_a_foreign_topic_breaks_a_limit(topic: str) -> None:
    with pytest.raises(LimitError):
        Topics("edge").parse(topic)


@pytest.mark.parametrize("name", ["d", "D9", "a-b", "a--b", "a_b", "a-_b", "a__b", "d" * 63])
def test_names_of_the_services_pattern_are_accepted(name: str) -> None:
    assert Topics("edge").parse(f"edge/{name}/{name}/get") == (Device(name, name), Channel.GET)


def test_an_invalid_name_is_in_the_error() -> None:
    with pytest.raises(LimitError, match="device: 'dev 1' does not match DeviceName's pattern"):
        Topics("edge").parse("edge/fleet-a/dev 1/hb")


def test_all_fleets_are_subscribed_by_default() -> None:
    assert Topics("edge").filters((), None) == ["edge/+/+/hb", "edge/+/+/get", "edge/+/+/read", "edge/+/+/live"]


def test_channels_may_be_chosen() -> None:
    assert Topics("edge").filters(("a",), "g", (Channel.LIVE,)) == ["$share/g/edge/a/+/live"]


def test_fleets_are_subscribed_by_name() -> None:
    filters = Topics("edge").filters(("a", "b"), None)
    assert filters == [
        *[f"edge/a/+/{channel}" for channel in SHARED_CHANNELS],
        *[f"edge/b/+/{channel}" for channel in SHARED_CHANNELS],
    ]
    assert Topics("edge").hello_filters(("a", "b")) == ["edge/a/+/hello", "edge/b/+/hello"]


def test_a_group_shares_all_but_hello() -> None:
    filters = Topics("edge").filters((), "gateways")
    assert filters == [f"$share/gateways/edge/+/+/{channel}" for channel in SHARED_CHANNELS]
    assert Topics("edge").hello_filters(()) == ["edge/+/+/hello"]


def test_the_devices_of_topics_without_invalid_ones() -> None:
    topics = ["edge/f/d/hb", "edge/f/d/get", "edge/f/no name/hb", "elsewhere", "edge/f/e/hb"]
    assert Topics("edge").devices_of(topics) == {Device("f", "d"), Device("f", "e")}


@pytest.mark.parametrize(
    ("topic", "ack"),
    [
        ("edge/fleet-a/dev-1/hb", "edge/fleet-a/dev-1/ack"),
        ("site-7/edge/no name/x y/get", "site-7/edge/no name/x y/ack"),
    ],
)
def test_the_ack_goes_to_the_sender_whatever_its_name(topic: str, ack: str) -> None:
    assert topic_for_same_device(topic, Channel.ACK) == ack


def test_a_device_is_one_object() -> None:
    topics = Topics("edge")
    remembered = topics.device("fleet-a", "dev-1")
    assert topics.parse("edge/fleet-a/dev-1/hb")[0] is remembered
    assert topics.parse("edge/fleet-a/dev-1/get")[0] is topics.device("fleet-a", "dev-1")


def test_more_devices_than_are_cached_are_parsed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.protocol.topics.MAX_CACHED_DEVICES", 2)
    topics = Topics("edge")
    names = [f"dev-{number}" for number in range(5)]
    assert [topics.parse(f"edge/fleet-a/{name}/hb")[0] for name in names] == [Device("fleet-a", name) for name in names]


def test_the_root_takes_its_bytes_of_a_publication() -> None:
    assert Topics("größe/edge").room(1000) == 1000 - len("größe/edge/".encode())
