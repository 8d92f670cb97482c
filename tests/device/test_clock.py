"""Uptime: whole seconds, through the wrap of a board's ticks."""

from device_sdk import port
from device_sdk.agent import Agent
from tests.device.support import LAYOUT

WRAP = 1 << 30  # MicroPython's ticks; on CPython they never wrap, so this clock stands in for both


class Clock:
    """`time` as a board has it, set by hand."""

    def __init__(self, ticks):
        self.ticks = ticks

    def time(self):
        return self.ticks + 0.5

    def ticks_ms(self):
        return self.ticks % WRAP

    def ticks_add(self, ticks, ms):
        return (ticks + ms) % WRAP

    def ticks_diff(self, end, start):
        return (end - start + WRAP // 2) % WRAP - WRAP // 2


def test_uptime_goes_on_through_the_wrap_and_loses_no_millisecond():
    real = port.time
    port.time = clock = Clock(WRAP - 1500)
    try:
        device = port.Port(Agent(LAYOUT), "localhost", "f", "d", clock=lambda: None)
        passed = 0
        while passed < 3 * WRAP:
            step = 999 if passed % 2 else 100000007
            clock.ticks += step
            passed += step
            assert device.now() == passed // 1000
    finally:
        port.time = real


def test_unix_time_is_none_until_the_clock_is_set():
    real = port.time
    try:
        for ticks, since, unix in (
            (0, 0, None),
            (946684800, 0, None),
            (1735689599, 0, None),
            (1735689600, 0, 1735689600),
            (0, 946684800, None),
            (820000000, 946684800, 1766684800),
        ):
            port.time = Clock(ticks)
            assert port.unix_time(since) == unix
    finally:
        port.time = real
    assert port.unix_time() > 1735689600
