"""The intake: full in messages or in bytes, it stops reading, and reads again when a quarter of it is free."""

import pytest

from gateway.ops.metrics import Metrics
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.rate_limiter import DeviceRateLimiter
from gateway.protocol.messages import Device


class Ear:
    """Notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


class Stand:
    """An intake of 8 messages and 1,000 bytes."""

    def __init__(self) -> None:
        self.ear, self.metrics, self.rates = Ear(), Metrics(), DeviceRateLimiter(1, 1)
        self.intake = InFlightLimit(8, 1000, self.rates, self.metrics)
        self.intake.begin(self.ear)

    def took(self, count: int, size: int = 10) -> list[str]:
        for _ in range(count):
            self.intake.took(size)
        return self.ear.told

    def settled(self, count: int, size: int = 10) -> list[str]:
        for _ in range(count):
            self.intake.settled(size)
        return self.ear.told


def test_full_it_stops_reading_once() -> None:
    stand = Stand()
    assert stand.took(7) == []
    assert stand.took(5) == ["pause"]


def test_it_reads_again_when_a_quarter_is_free() -> None:
    stand = Stand()
    stand.took(8)
    assert stand.settled(1) == ["pause"]
    assert stand.settled(1) == ["pause", "resume"]
    assert stand.took(2) == ["pause", "resume", "pause"]


def test_bytes_count_as_messages_do() -> None:
    stand = Stand()
    assert stand.took(3, size=333) == []
    assert stand.took(1, size=1) == ["pause"]
    assert stand.settled(1, size=1) == ["pause"]
    assert stand.settled(1, size=333) == ["pause", "resume"]


def test_both_must_be_free_before_it_reads_again() -> None:
    stand = Stand()
    stand.took(7)
    stand.took(1, size=993)
    assert stand.settled(5) == ["pause"]
    assert stand.settled(1, size=993) == ["pause", "resume"]


def test_a_new_connection_is_read_and_stopped_again_by_the_next_message() -> None:
    stand = Stand()
    stand.took(9)
    stand.intake.connected()
    assert stand.took(1) == ["pause", "pause"]


def test_after_the_end_nothing_is_read_whatever_room_there_is() -> None:
    stand = Stand()
    stand.took(8)
    stand.intake.end()
    assert stand.settled(8) == ["pause", "pause"]
    stand.intake.connected()
    assert stand.ear.told == ["pause"] * 3


def test_it_is_shown() -> None:
    stand = Stand()
    stand.took(8, size=20)
    found = stand.metrics.render().decode()
    for line in ("unacknowledged_messages 8.0", "unacknowledged_bytes 160.0", "reading_paused 1.0"):
        assert f"edge_gateway_{line}\n" in found
    stand.settled(8, size=20)
    assert "edge_gateway_reading_paused 0.0\n" in stand.metrics.render().decode()


@pytest.mark.parametrize(("held", "mostly"), [(3, True), (4, False), (9, False)])
def test_whether_it_is_mostly_settled(held: int, mostly: bool) -> None:
    stand = Stand()
    stand.took(held)
    assert stand.intake.mostly_settled is mostly


def test_after_a_pause_the_rates_are_lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, device, clock = Stand(), Device("f", "d"), 1000.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    stand.took(8)
    clock += 60.0
    stand.settled(2)
    assert sum(stand.rates.admits(device, 30, clock) for _ in range(100)) == 61
