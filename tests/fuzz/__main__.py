"""`python -m tests.fuzz`: a million inputs, guided by coverage (atheris). Arguments are libFuzzer's, as -runs=1000.

What fails is written to crash-… in the current folder; `python -m tests.fuzz crash-…` repeats it.
"""

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris has no wheel for this platform; FUZZ_EXAMPLES=1000000 pytest tests/fuzz does it by hypothesis")

with atheris.instrument_imports(include=["gateway"]):
    from gateway.cloud import json_body  # noqa: F401  # before the target imports them, so that they are instrumented
    from gateway.core import engine  # noqa: F401  # before the target imports them, so that they are instrumented
    from gateway.protocol import decoder, encoder  # noqa: F401  # before the target imports them, so that they are instrumented

from tests.fuzz import target
from tests.fuzz.corpus import corpus

DEFAULTS = ["-runs=1000000", "-max_len=1024", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]


BLOCK, MEASURED = 1000, 16
"""Memory is measured in a block of inputs, then not in the next fifteen: it takes three times as long."""


class Runner:
    """Runs the target, and prints when an input took longer than any before it; that fails nothing."""

    def __init__(self) -> None:
        self.seconds = 0.01
        self.count = 0

    def __call__(self, data: bytes) -> None:
        memory = self._measured()
        start = time.perf_counter()
        cost = target.run(data, memory=memory)
        seconds = time.perf_counter() - start
        if seconds > self.seconds:
            self.seconds = seconds
            sys.stderr.write(f"slowest so far: {seconds * 1000:.0f} ms, {cost} for {len(data)} bytes\n")

    def _measured(self) -> bool:
        """tracemalloc goes on through a block: each of its starts costs 4 KB that never come back."""
        block, place = divmod(self.count, BLOCK)
        self.count += 1
        memory = block % MEASURED == 0
        if place == 0:
            tracemalloc.start() if memory else tracemalloc.stop()
        return memory


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus()):
            (Path(folder) / str(number)).write_bytes(data)
        given = sys.argv[1:]
        repeats = any(not argument.startswith("-") for argument in given)
        atheris.Setup([sys.argv[0], *DEFAULTS, *given, *([] if repeats else [folder])], Runner())
        atheris.Fuzz()


if __name__ == "__main__":
    main()
