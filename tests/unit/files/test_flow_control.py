"""The window of blocks against a line that is worked out: it fills the line, and lets nothing stand in front of it."""

from collections import deque

import pytest

from gateway.files.flow_control import LEAST, MOST, REMEMBERED, SLACK, START, CongestionControl


class Line:
    """Takes `service` seconds for each block, one after another, and `way` seconds there and back."""

    def __init__(self, pace: CongestionControl, way: float, service: float) -> None:
        self.pace, self.way, self.service = pace, way, service
        self.now = 0.0
        self._free = 0.0
        self._under_way: deque[tuple[float, float]] = deque()
        self.waits: list[float] = []

    def run(self, blocks: int, most: int = MOST) -> float:
        """Send so many, never more than `most` at once; blocks a second."""
        began = self.now
        for _ in range(blocks):
            while len(self._under_way) >= min(most, self.pace.window):
                self._confirm()
            self._send()
        return blocks / (self.now - began)

    def _send(self) -> None:
        begins = max(self.now, self._free)
        self.waits.append(begins - self.now)
        self._free = begins + self.service
        self._under_way.append((self.now, self._free + self.way))

    def _confirm(self) -> None:
        is_full = len(self._under_way) >= self.pace.window
        sent, self.now = self._under_way.popleft()
        self.pace.confirmed(sent, self.now, is_full)


@pytest.mark.parametrize(("way", "service"), [(0.0001, 0.0001), (0.0002, 0.001), (0.02, 0.0005), (0.1, 0.001)])
def test_the_line_is_used_and_little_stands_in_front_of_it(way: float, service: float) -> None:
    line = Line(CongestionControl(), way, service)
    line.run(5000)
    line.waits.clear()
    rate = line.run(5000)
    assert rate >= 0.9 / service
    assert max(line.waits) <= max(2 * SLACK, LEAST * service, way + service)


def test_a_line_that_never_waits_has_the_whole_window() -> None:
    line = Line(CongestionControl(), way=0.05, service=0.0)
    line.run(100_000)
    assert line.pace.window == MOST


def test_what_is_not_used_does_not_grow() -> None:
    line = Line(CongestionControl(), way=0.05, service=0.0)
    line.run(10_000, most=4)
    assert line.pace.window == START


def test_a_line_that_becomes_slow_is_noticed_within_a_few_windows() -> None:
    line = Line(CongestionControl(), way=0.05, service=0.0)
    line.run(100_000)
    line.service = 0.02
    line.run(5 * MOST)
    assert line.pace.window <= 4


def test_one_late_confirmation_costs_half_a_block_at_most() -> None:
    pace = CongestionControl()
    pace.confirmed(0.0, 0.001, True)
    before = pace.window
    pace.confirmed(0.0, 3600.0, True)
    assert before - pace.window <= 1


def test_it_never_stands_still() -> None:
    pace = CongestionControl()
    pace.confirmed(0.0, 0.001, True)
    for _ in range(1000):
        pace.confirmed(0.0, 10.0, True)
    assert pace.window == LEAST


def test_a_way_that_has_become_longer_is_believed_at_last() -> None:
    line = Line(CongestionControl(), way=0.001, service=0.0)
    line.run(1000)
    line.way = 0.05
    line.run(100)
    assert line.pace.window == LEAST
    line.run(round(3 * REMEMBERED / 0.05 * LEAST))
    line.run(100_000)
    assert line.pace.window == MOST
