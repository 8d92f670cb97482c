"""Topic strings <-> (device, channel): {root}/{fleet}/{device}/{channel}. Must never use a payload.

A device's identity comes from the topic alone, so a name that breaks the service's pattern is rejected here.
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
    LIVE = "live"
    PLAN = "plan"
    ACK = "ack"
    BLOCK = "block"
    DEAD = "dead"


_CHANNELS = {channel.value: channel for channel in Channel}

SHARED_CHANNELS = (Channel.HEARTBEAT, Channel.GET, Channel.READ, Channel.LIVE)
"""What the gateways of a group share; each of them receives every `hello`."""

MAX_CACHED_DEVICES = 131_072
"""Devices whose names are checked once: two patterns a message cost more than all else that the core does with it."""


class Topics:
    """The topics below one root (`edge`, or several levels such as `site-7/edge`)."""

    def __init__(self, root: str) -> None:
        self._prefix = root + "/"
        self._fleets: dict[str, dict[str, Device]] = {}
        self._cached = 0

    def parse(self, topic: str) -> tuple[Device, Channel]:
        """The device and the channel of a topic.

        Raises LimitError where fleet or device is not a valid name for the service, or the topic is not below the root.
        """
        levels = topic[len(self._prefix) :].split("/")
        if len(levels) != 3 or levels[2] not in _CHANNELS or not topic.startswith(self._prefix):
            raise LimitError(f"topic {topic[:200]!r} is not {self._prefix}FLEET/DEVICE/CHANNEL")
        fleet, name, channel = levels
        devices = self._fleets.get(fleet)
        known = None if devices is None else devices.get(name)
        return known or self.device(fleet, name), _CHANNELS[channel]

    def device(self, fleet: str, name: str) -> Device:
        """The one object of this device, which everything known of it shares. Raises LimitError."""
        known = self._fleets[fleet].get(name) if fleet in self._fleets else None
        if known is not None:
            return known
        if self._cached == MAX_CACHED_DEVICES:
            self._fleets, self._cached = {}, 0
        device = Device(sys.intern(fleet), name)
        self._fleets.setdefault(device.fleet, {})[name] = device
        self._cached += 1
        return device

    def format(self, device: Device, channel: Channel) -> str:
        return f"{self._prefix}{device.fleet}/{device.name}/{channel}"

    def room(self, publication_room: int) -> int:
        """What is left for the topic below the root and the payload, of the bytes for topic and payload."""
        return publication_room - len(self._prefix.encode())

    def devices_of(self, topics: Iterable[str]) -> set[Device]:
        """The devices of these topics; a topic without a valid device is left out."""
        devices = set()
        for topic in topics:
            try:
                devices.add(self.parse(topic)[0])
            except LimitError:
                pass
        return devices

    def filters(
        self, fleets: tuple[str, ...], group: str | None, channels: Iterable[Channel] = SHARED_CHANNELS
    ) -> list[str]:
        """What a gateway of `fleets` (empty: of all) subscribes to, without `hello`; shared where `group` is given."""
        share = f"$share/{group}/" if group else ""
        heads = [f"{self._prefix}{fleet}/+/" for fleet in fleets or ("+",)]
        return [share + head + channel for head in heads for channel in channels]

    def hello_filters(self, fleets: tuple[str, ...]) -> list[str]:
        """The filters of every `hello`; never shared, since each gateway must know each layout."""
        return [f"{self._prefix}{fleet}/+/{Channel.HELLO}" for fleet in fleets or ("+",)]


def topic_for_same_device(topic: str, channel: Channel) -> str:
    """The same device's other channel. Works for a topic with invalid names too, so that its sender gets an error."""
    return f"{topic.rpartition('/')[0]}/{channel}"
