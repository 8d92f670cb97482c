"""Uptime: whole seconds, through the wrap of a board's ticks."""

from device_sdk import port
from device_sdk.agent import Agent
from tests.device.support import LAYOUT

WRAP = 1 << 30  # MicroPython's ticks; on CPython they never wrap, so this clock stands in for both


class Clock:
    """`time` as a board has it, set by hand."""

    def __init__(self, ticks):
        self.ticks = ticks

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
