"""Topic strings <-> (device, channel), both ways. Knows no payloads and no broker.

    {root}/{fleet}/{device}/{channel}

Identity comes from the topic and from nothing else, so a name that breaks the service's pattern is refused here.
"""

import sys
from collections.abc import Iterable
from enum import StrEnum

from gateway.errors import LimitError
from gateway.messages import Device


class Channel(StrEnum):
    """The last level of a topic, as the protocol page names them."""

    HELLO = "hello"
    HEARTBEAT = "hb"
    GET = "get"
    READ = "read"
    PLAN = "plan"
    ACK = "ack"
    BLOCK = "block"
    DEAD = "dead"


_CHANNELS = {channel.value: channel for channel in Channel}

HEARD = (Channel.HEARTBEAT, Channel.GET, Channel.READ)
"""What gateways of a group share among them; each of them hears every `hello`."""


DEVICES_KEPT = 131_072
"""Devices whose topics are kept: two patterns a message would cost more than the rest of its way through the core."""


class Topics:
    """The topics below one root (`edge`, or several levels such as `site-7/edge`)."""

    def __init__(self, root: str) -> None:
        self._prefix = root + "/"
        self._devices: dict[str, Device] = {}  # by what stands before the channel

    def parse(self, topic: str) -> tuple[Device, Channel]:
        """The device and the channel of a topic that one of our filters matched.

        Raises LimitError where fleet or device is no name of the service, or the topic is none of ours.
        """
        head, _, word = topic.rpartition("/")
        channel, device = _CHANNELS.get(word), self._devices.get(head)
        if channel is None:
            raise self._not_ours(topic)
        return device or self._device(head, topic), channel

    def _device(self, head: str, topic: str) -> Device:
        levels = head[len(self._prefix) :].split("/")
        if not head.startswith(self._prefix) or len(levels) != 2:
            raise self._not_ours(topic)
        fleet, name = levels
        if len(self._devices) == DEVICES_KEPT:
            self._devices.clear()
        device = self._devices[head] = Device(sys.intern(fleet), name)
        return device

    def _not_ours(self, topic: str) -> LimitError:
        return LimitError(f"topic {topic[:200]!r} is not {self._prefix}FLEET/DEVICE/CHANNEL")

    def format(self, device: Device, channel: Channel) -> str:
        """The topic of a device's channel."""
        return f"{self._prefix}{device.fleet}/{device.name}/{channel}"

    def devices(self, topics: Iterable[str]) -> set[Device]:
        """Whose topics these are; those of nobody are left out."""
        found = set()
        for topic in topics:
            try:
                found.add(self.parse(topic)[0])
            except LimitError:
                pass
        return found

    def filters(self, fleets: tuple[str, ...], group: str | None) -> list[str]:
        """What a gateway of `fleets` (empty: of all) subscribes to, shared where `group` names a group; but `hello`."""
        share = f"$share/{group}/" if group else ""
        heads = [f"{self._prefix}{fleet}/+/" for fleet in fleets or ("+",)]
        return [share + head + channel for head in heads for channel in HEARD]

    def hello_filters(self, fleets: tuple[str, ...]) -> list[str]:
        """The filters of every `hello`; never shared, since each gateway must know each layout."""
        return [f"{self._prefix}{fleet}/+/{Channel.HELLO}" for fleet in fleets or ("+",)]


def sibling(topic: str, channel: Channel) -> str:
    """The same device's other channel. Works for a topic whose names are refused, so that the sender can be told."""
    return f"{topic.rpartition('/')[0]}/{channel}"
