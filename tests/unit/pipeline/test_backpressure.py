"""At the limit, in messages or in bytes, reading stops; it resumes when a quarter is free."""

import pytest

from gateway.ops.metrics import Metrics
from gateway.pipeline.backpressure import InFlightLimit
from gateway.pipeline.rate_limiter import DeviceRateLimiter
from gateway.protocol.messages import Device


class Subscriber:
    """Notes its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


class Harness:
    """A limit of 8 messages and 1,000 bytes."""

    def __init__(self) -> None:
        self.subscriber, self.metrics, self.rates = Subscriber(), Metrics(), DeviceRateLimiter(1, 1)
        self.limit = InFlightLimit(8, 1000, self.rates, self.metrics)
        self.limit.start(self.subscriber)

    def acquire(self, count: int, size: int = 10) -> list[str]:
        for _ in range(count):
            self.limit.acquire(size)
        return self.subscriber.calls

    def release(self, count: int, size: int = 10) -> list[str]:
        for _ in range(count):
            self.limit.release(size)
        return self.subscriber.calls


def test_at_the_limit_reading_stops_once() -> None:
    harness = Harness()
    assert harness.acquire(7) == []
    assert harness.acquire(5) == ["pause"]


def test_reading_resumes_when_a_quarter_is_free() -> None:
    harness = Harness()
    harness.acquire(8)
    assert harness.release(1) == ["pause"]
    assert harness.release(1) == ["pause", "resume"]
    assert harness.acquire(2) == ["pause", "resume", "pause"]


def test_bytes_count_as_messages_do() -> None:
    harness = Harness()
    assert harness.acquire(3, size=333) == []
    assert harness.acquire(1, size=1) == ["pause"]
    assert harness.release(1, size=1) == ["pause"]
    assert harness.release(1, size=333) == ["pause", "resume"]


def test_both_must_be_free_before_reading_resumes() -> None:
    harness = Harness()
    harness.acquire(7)
    harness.acquire(1, size=993)
    assert harness.release(5) == ["pause"]
    assert harness.release(1, size=993) == ["pause", "resume"]


def test_a_new_connection_is_read_until_the_next_message() -> None:
    harness = Harness()
    harness.acquire(9)
    harness.limit.connected()
    assert harness.acquire(1) == ["pause", "pause"]


def test_after_the_stop_nothing_is_read() -> None:
    harness = Harness()
    harness.acquire(8)
    harness.limit.stop()
    assert harness.release(8) == ["pause", "pause"]
    harness.limit.connected()
    assert harness.subscriber.calls == ["pause"] * 3


def test_the_metrics_show_it() -> None:
    harness = Harness()
    harness.acquire(8, size=20)
    found = harness.metrics.render().decode()
    for line in ("unacknowledged_messages 8.0", "unacknowledged_bytes 160.0", "reading_paused 1.0"):
        assert f"edge_gateway_{line}\n" in found
    harness.release(8, size=20)
    assert "edge_gateway_reading_paused 0.0\n" in harness.metrics.render().decode()


@pytest.mark.parametrize(("count", "below"), [(3, True), (4, False), (9, False)])
def test_whether_it_is_below_half(count: int, below: bool) -> None:
    harness = Harness()
    harness.acquire(count)
    assert harness.limit.below_half is below


def test_after_a_pause_a_backlog_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    harness, device, clock = Harness(), Device("f", "d"), 1000.0
    monkeypatch.setattr("gateway.pipeline.backpressure.monotonic", lambda: clock)
    harness.acquire(8)
    clock += 60.0
    harness.release(2)
    assert sum(harness.rates.allow(device, 30, clock) for _ in range(100)) == 61
