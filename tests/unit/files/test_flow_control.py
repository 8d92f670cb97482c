"""The window of blocks on a simulated connection: it fills the connection, and almost nothing is queued before it."""

from collections import deque

import pytest

from gateway.files.flow_control import (
    FREE_BYTES,
    FREE_COPIES,
    MAX_WINDOW,
    MIN_WINDOW,
    REPEAT_RATE,
    RTT_PERIOD,
    RTT_TOLERANCE,
    START_WINDOW,
    SWEEP_AT,
    CongestionControl,
    RepeatLimiter,
)
from gateway.protocol import Read


class Link:
    """Takes `service` seconds for each block, one after another, and `round_trip` seconds there and back."""

    def __init__(self, control: CongestionControl, round_trip: float, service: float) -> None:
        self.control, self.round_trip, self.service = control, round_trip, service
        self.now = 0.0
        self._free = 0.0
        self._in_flight: deque[tuple[float, float]] = deque()
        self.waits: list[float] = []

    def run(self, blocks: int, most: int = MAX_WINDOW) -> float:
        """Send so many, never more than `most` at once; blocks a second."""
        began = self.now
        for _ in range(blocks):
            while len(self._in_flight) >= min(most, self.control.window):
                self._confirm()
            self._send()
        return blocks / (self.now - began)

    def _send(self) -> None:
        begins = max(self.now, self._free)
        self.waits.append(begins - self.now)
        self._free = begins + self.service
        self._in_flight.append((self.now, self._free + self.round_trip))

    def _confirm(self) -> None:
        is_full = len(self._in_flight) >= self.control.window
        sent, self.now = self._in_flight.popleft()
        self.control.on_confirmed(sent, self.now, is_full)


@pytest.mark.parametrize(("round_trip", "service"), [(0.0001, 0.0001), (0.0002, 0.001), (0.02, 0.0005), (0.1, 0.001)])
def test_the_link_is_used_and_little_is_queued_before_it(round_trip: float, service: float) -> None:
    link = Link(CongestionControl(), round_trip, service)
    link.run(5000)
    link.waits.clear()
    rate = link.run(5000)
    assert rate >= 0.9 / service
    assert max(link.waits) <= max(2 * RTT_TOLERANCE, MIN_WINDOW * service, round_trip + service)


def test_a_link_that_never_waits_has_the_whole_window() -> None:
    link = Link(CongestionControl(), round_trip=0.05, service=0.0)
    link.run(100_000)
    assert link.control.window == MAX_WINDOW


def test_what_is_not_used_does_not_grow() -> None:
    link = Link(CongestionControl(), round_trip=0.05, service=0.0)
    link.run(10_000, most=4)
    assert link.control.window == START_WINDOW


def test_a_link_that_becomes_slow_is_noticed_within_a_few_windows() -> None:
    link = Link(CongestionControl(), round_trip=0.05, service=0.0)
    link.run(100_000)
    link.service = 0.02
    link.run(5 * MAX_WINDOW)
    assert link.control.window <= 4


def test_one_late_confirmation_costs_half_a_block_at_most() -> None:
    control = CongestionControl()
    control.on_confirmed(0.0, 0.001, True)
    before = control.window
    control.on_confirmed(0.0, 3600.0, True)
    assert before - control.window <= 1


def test_the_window_has_a_minimum() -> None:
    control = CongestionControl()
    control.on_confirmed(0.0, 0.001, True)
    for _ in range(1000):
        control.on_confirmed(0.0, 10.0, True)
    assert control.window == MIN_WINDOW


def test_a_longer_round_trip_is_accepted_after_two_periods() -> None:
    link = Link(CongestionControl(), round_trip=0.001, service=0.0)
    link.run(1000)
    link.round_trip = 0.05
    link.run(100)
    assert link.control.window == MIN_WINDOW
    link.run(round(3 * RTT_PERIOD / 0.05 * MIN_WINDOW))
    link.run(100_000)
    assert link.control.window == MAX_WINDOW


def sent(limiter: RepeatLimiter, topic: str, total: int, now: float, digest: int = 5) -> int:
    """Bytes of a file that a device gets at once, in blocks of 1,024."""
    count = 0
    while limiter.allows(topic, Read(digest, 0, 0, 1024), total, now):
        limiter.on_sent(topic, Read(digest, 0, 0, 1024), 1024, now)
        count += 1024
    return count - 1024


def test_a_file_is_sent_some_times_at_full_speed_and_then_at_a_rate() -> None:
    limiter = RepeatLimiter()
    assert sent(limiter, "a", 10_000_000, 0.0) == pytest.approx(FREE_COPIES * 10_000_000, abs=1024)
    assert sent(limiter, "a", 10_000_000, 100.0) == pytest.approx(100 * REPEAT_RATE, abs=2048)


def test_a_small_file_is_sent_more_often() -> None:
    assert sent(RepeatLimiter(), "a", 100, 0.0) == FREE_BYTES


def test_other_devices_and_other_plans_have_a_limit_of_their_own() -> None:
    limiter = RepeatLimiter()
    sent(limiter, "a", 100, 0.0)
    assert sent(limiter, "b", 100, 0.0) == FREE_BYTES
    assert sent(limiter, "a", 100, 0.0, digest=6) == FREE_BYTES


def test_downloads_that_are_paid_for_are_forgotten() -> None:
    limiter = RepeatLimiter()
    for number in range(10 * SWEEP_AT):
        limiter.on_sent(str(number), Read(5, 0, 0, 1024), REPEAT_RATE, number / 100)
    assert len(limiter) <= SWEEP_AT
