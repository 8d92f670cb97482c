"""The clock that nobody sets, for waiting. One for all that compare or hand over its times."""

import time
from collections.abc import Callable
from functools import partial

monotonic: Callable[[], float] = time.monotonic
"""Seconds; on Linux with the time in which the machine sleeps, so that its end is no step of the wall clock."""
if hasattr(time, "CLOCK_BOOTTIME"):
    monotonic = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
