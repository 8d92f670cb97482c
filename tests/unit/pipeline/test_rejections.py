"""What a sender can cause at any rate is reported once a second, and each rejected message is counted exactly once."""

import pytest

from gateway.errors import Code, DecodeError, RateError
from gateway.mqtt import packets
from gateway.mqtt.connection import BrokerEndpoint
from gateway.mqtt.session import Delivery, MqttSession
from gateway.ops.metrics import Metrics
from gateway.pipeline.rejections import RejectionCounter, Report
from gateway.protocol.messages import Device

DEVICE, OTHER = Device("fleet-a", "dev-1"), Device("fleet-a", "dev-2")
TOPIC = "edge/fleet-a/dev-1/hb"
PAYLOAD = b"\x93\x01\x02\x91\x03"


class NoHandler:
    """Nothing is connected."""

    def connected(self, connection: int, session_present: bool) -> None:
        raise AssertionError

    def delivered(self, delivery: Delivery) -> None:
        raise AssertionError


class Flood:
    """A counter, and messages that come to its session as bytes."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.counter = RejectionCounter(self.metrics)
        self.session = MqttSession(BrokerEndpoint("127.0.0.1", 1883, "c"), [], NoHandler(), 10)
        self.counter.start(self.session)
        self.reports: list[Report] = []

    def send(self, count: int, now: float, until: float = 100.0, topic: str = TOPIC, device: Device = DEVICE) -> int:
        """So many over the rate, as the handler adds them; how many of them were read."""
        packet, read, left = packets.publish(topic, PAYLOAD, 7, False, b""), 0, count
        while left:
            end = packets.skip_rejected(packet * left, 0, self.session._rejected, now, bytearray())
            left -= end // len(packet)
            if left:
                left, read = left - 1, read + 1
                self._read(topic, device, now, until)
        return read

    def _read(self, topic: str, device: Device, now: float, until: float) -> None:
        report = self.counter.add(device, Delivery(topic, PAYLOAD, 1, 7, 1), RateError("too much"), now)
        if report is None:
            self.counter.reject_unread(device, Code.GAVE_UP, topic, until, 0)
        else:
            self.reports.append(report)

    def tick(self, now: float) -> None:
        self.reports += self.counter.due(now)

    def counts(self) -> list[int]:
        return [report.count for report in self.reports]


@pytest.fixture
async def flood() -> Flood:
    return Flood()


async def test_the_first_is_reported_at_once_and_what_follows_a_second_later(flood: Flood) -> None:
    assert flood.send(1000, now=5.0) == 2
    assert flood.counts() == [1]
    flood.tick(5.9)
    assert flood.counts() == [1]
    flood.tick(6.0)
    assert flood.counts() == [1, 999]
    assert [report.error.detail for report in flood.reports] == ["too much", "too much (999 messages)"]
    assert {(report.sender, report.delivery.payload) for report in flood.reports} == {(DEVICE, PAYLOAD)}


async def test_a_flood_is_counted_to_the_last_message(flood: Flood) -> None:
    """Also where some are allowed between: each 50 ms one is read."""
    read = 0
    for tick in range(200):
        now = 5.0 + tick * 0.05
        read += flood.send(321, now, until=now + 0.04)
        flood.tick(now)
    flood.tick(20.0)
    assert sum(flood.counts()) == 200 * 321
    assert len(flood.counts()) <= 12
    assert read <= 200 + 2 * len(flood.counts())


async def test_metrics_count_what_was_not_read(flood: Flood) -> None:
    read = flood.send(1000, now=5.0)
    flood.tick(5.5)
    found = flood.metrics.rate_limited, flood.metrics.acknowledged, flood.metrics.received["hb"]
    assert [counter.value for counter in found] == [1000 - read] * 3


async def test_topics_of_one_device_are_one_report(flood: Flood) -> None:
    topics = [f"edge/fleet-a/dev-1/{channel}" for channel in ("hello", "hb", "get", "read")]
    for topic in topics:
        flood.send(100, now=5.0, topic=topic)
    flood.tick(6.0)
    assert flood.counts() == [1, 399]
    for topic in topics:
        assert flood.send(100, now=6.1, topic=topic) == 1
    flood.tick(7.1)
    assert flood.counts() == [1, 399, 400]


async def test_devices_and_codes_have_reports_of_their_own(flood: Flood) -> None:
    flood.send(10, now=5.0)
    flood.send(10, now=5.0, topic="edge/fleet-a/dev-2/hb", device=OTHER)
    for _ in range(10):
        report = flood.counter.add(DEVICE, Delivery(TOPIC, PAYLOAD, 1, 7, 1), DecodeError("too large"), 5.0)
        flood.reports += [report] if report else []
    flood.tick(6.0)
    found = [(report.sender, report.error.code, report.count) for report in flood.reports]
    first = [(DEVICE, Code.GAVE_UP, 1), (OTHER, Code.GAVE_UP, 1), (DEVICE, Code.MALFORMED, 1)]
    assert found == first + [(sender, code, 9) for sender, code, _ in first]


async def test_nothing_is_kept_of_a_flood_that_is_over(flood: Flood) -> None:
    flood.send(1000, now=5.0)
    for now in (5.5, 6.0, 6.5, 7.0):
        flood.tick(now)
    assert (sum(flood.counts()), len(flood.counter), flood.session._rejected) == (1000, 0, {})
    assert flood.send(1, now=8.0) == 1
    assert flood.counts()[-1] == 1


async def test_a_topic_is_read_again_once_its_time_has_come(flood: Flood) -> None:
    flood.send(10, now=5.0, until=5.2)
    flood.tick(5.1)
    flood.tick(5.3)
    assert flood.session._rejected == {}
    flood.tick(6.0)
    assert flood.counts() == [1, 9]
