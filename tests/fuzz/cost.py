"""What a piece of work costs, counted and never timed: executed lines of the gateway's Python, bytes allocated."""

import sys
import tracemalloc
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import gateway

PACKAGE = str(Path(gateway.__file__).parent)


class Cost:
    """While its context is entered: `lines` executed in files of the gateway, and the `peak` of memory in bytes, 0
    where `memory` is not asked for, which costs more than the work itself.

    What C does is not counted: msgpack goes over a payload twice, and a regular expression over a name once.
    """

    def __init__(self, memory: bool = True) -> None:
        self._memory = memory
        self.lines = 0
        self.peak = 0

    def __repr__(self) -> str:
        return f"{self.lines} lines, {self.peak} bytes"

    def __enter__(self) -> Self:
        self._outer = sys.gettrace()
        self._alone = self._memory and not tracemalloc.is_tracing()
        if self._alone:
            tracemalloc.start()
        if self._memory:
            tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]
        sys.settrace(self._entered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._outer)
        self.peak = tracemalloc.get_traced_memory()[1] - self._before if self._memory else 0
        if self._alone:
            tracemalloc.stop()

    def _entered(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
        return self._line
