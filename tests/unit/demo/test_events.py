"""The demo's events: sizes are those of the real packets."""

import pytest

from gateway.demo.events import PublishEvent
from gateway.protocol.messages import Device
from gateway.protocol.topics import Channel


@pytest.mark.parametrize(("size", "packet"), [(0, 24), (105, 129), (106, 131), (16_361, 16_386), (16_362, 16_388)])
def test_the_size_of_a_packet_is_that_of_mqtt(size: int, packet: int) -> None:
    event = PublishEvent(1.0, Device("demo", "dev-1"), Channel.HEARTBEAT, "edge/demo/dev-1/hb", bytes(size))
    assert len(event.topic) == 18
    assert event.packet_bytes == packet
