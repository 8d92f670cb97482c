"""The clocks of the gateway: the wall clock for dating, one that nobody sets for waiting."""

import time
from collections.abc import Callable
from functools import partial

from gateway.protocol import Instant

monotonic: Callable[[], float] = time.monotonic
"""Seconds; on Linux with the time in which the machine sleeps, so that its end is no step of the wall clock."""
if hasattr(time, "CLOCK_BOOTTIME"):
    monotonic = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


def now() -> Instant:
    return Instant(time.time(), monotonic())
