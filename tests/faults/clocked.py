"""The gateway under a clock that jumps: `python -m tests.faults.clocked FILE run`.

FILE holds one double: by how many seconds time.time is ahead. The monotonic clock goes on as it does on a machine whose
clock is set. Only time.time jumps: nothing else of Python's clocks is asked by the gateway for the time of day.
"""

import mmap
import struct
import sys
import time
from pathlib import Path

AHEAD = struct.Struct("d")


class JumpingClock:
    """The test's side of FILE."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0.0)

    @property
    def command(self) -> list[str]:
        """What starts a gateway that goes by this clock."""
        return [sys.executable, "-m", "tests.faults.clocked", str(self._file), "run"]

    def jump(self, seconds: float) -> None:
        """From now on it is so far from the true time."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(AHEAD.pack(seconds))


def main() -> None:
    with open(sys.argv.pop(1), "rb") as file:
        shared = mmap.mmap(file.fileno(), AHEAD.size, access=mmap.ACCESS_READ)
    true_time = time.time
    time.time = lambda: true_time() + AHEAD.unpack_from(shared)[0]
    from gateway.cli import main as gateway

    gateway()


if __name__ == "__main__":
    main()
