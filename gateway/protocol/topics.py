"""Topic strings <-> (device, channel), both ways. Knows no payloads and no broker.

    {root}/{fleet}/{device}/{channel}

Identity comes from the topic and from nothing else, so a name that breaks the service's pattern is refused here.
"""

import sys
from collections.abc import Iterable
from enum import StrEnum

from gateway.errors import LimitError
from gateway.protocol.messages import Device


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
        self._fleets: dict[str, dict[str, Device]] = {}
        self._kept = 0

    def parse(self, topic: str) -> tuple[Device, Channel]:
        """The device and the channel of a topic that one of our filters matched.

        Raises LimitError where fleet or device is no name of the service, or the topic is none of ours.
        """
        levels = topic[len(self._prefix) :].split("/")
        if len(levels) != 3 or levels[2] not in _CHANNELS or not topic.startswith(self._prefix):
            raise LimitError(f"topic {topic[:200]!r} is not {self._prefix}FLEET/DEVICE/CHANNEL")
        fleet, name, channel = levels
        return self.device(fleet, name), _CHANNELS[channel]

    def device(self, fleet: str, name: str) -> Device:
        """The one object of this device, which all that is known of it shares. Raises LimitError."""
        known = self._fleets[fleet].get(name) if fleet in self._fleets else None
        if known is not None:
            return known
        if self._kept == DEVICES_KEPT:
            self._fleets, self._kept = {}, 0
        device = Device(sys.intern(fleet), name)
        self._fleets.setdefault(device.fleet, {})[name] = device
        self._kept += 1
        return device

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
