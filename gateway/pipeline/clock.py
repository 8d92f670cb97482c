"""Both clocks of the gateway at once: the wall clock for dating, one that nobody sets for waiting."""

import time

from gateway.clock import monotonic
from gateway.protocol import Instant


def now() -> Instant:
    return Instant(time.time(), monotonic())
