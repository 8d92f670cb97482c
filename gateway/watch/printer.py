"""Prints messages in a thread, so that a slow terminal stops no reading: what cannot be printed in time is counted.

Text of a device must never act on the terminal: what is printed is printable.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TextIO, TypeAlias

from rich.console import Console
from rich.text import Text

from gateway.errors import printable
from gateway.watch.messages import UNANSWERED, Describer, Received, ShownMessage

MAX_WAITING, MAX_WAITING_BYTES = 1000, 8 * 1024 * 1024
"""Messages that wait to be printed, and their payloads, at most."""
STOP_WAIT = 1.0
"""Seconds for which the end waits for the line that is being printed."""
_ARROWS = {True: ("──▶", "◀──"), False: ("-->", "<--")}
"""From a device, and from the gateway: with Unicode, and in ASCII."""

Item: TypeAlias = Received | str | int
"""A message, a notice, or how many messages are not shown."""


class _LineConsole(Console):
    """On a broken pipe rich ends the process in the thread that prints. The command must end."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("nobody reads the output")


class LineWriter:
    """A line on `stream` for each message; notices on `notices`. `wide`: a long line is wrapped instead of cut."""

    def __init__(self, describer: Describer, stream: TextIO, notices: TextIO, as_json: bool, wide: bool) -> None:
        self._describer, self._notices, self._as_json, self._wide = describer, notices, as_json, wide
        self._stream = stream
        self._console = _LineConsole(file=stream, highlight=False)
        self._unicode = not self._console.options.ascii_only

    def write(self, item: Item) -> None:
        """Raises OSError where it cannot be written."""
        if isinstance(item, str):
            print(printable(item), file=self._notices, flush=True)
        elif isinstance(item, int):
            self._write_not_shown(item)
        else:
            shown = self._describer.describe(item)
            if self._describer.is_unanswered(shown):
                self.write(UNANSWERED)
            if self._as_json:
                self._write_line(json.dumps(shown.as_json()))
            else:
                self._write_message(shown)

    def _write_not_shown(self, count: int) -> None:
        dots = "…" if self._unicode else "..."
        self._write_line(json.dumps({"not_shown": count}) if self._as_json else f"{dots} {count:,} messages not shown")

    def _write_message(self, shown: ShownMessage) -> None:
        time = datetime.fromtimestamp(shown.received.at).strftime("%H:%M:%S")
        arrow = _ARROWS[self._unicode][not shown.from_device]
        head = f"{arrow} {shown.device} {shown.channel:<5}"
        if not self._console.is_terminal:
            self._write_line(f"{time} {head} {shown.text}")
            return
        colour = "red" if shown.problem is not None else "cyan" if shown.from_device else "green"
        line = Text.assemble(f"{time} ", (head, colour), f" {shown.text}")
        if self._wide:
            self._console.print(line, soft_wrap=True)
        else:
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    def _write_line(self, line: str) -> None:
        if not self._unicode:
            line = line.encode("ascii", "backslashreplace").decode("ascii")
        self._stream.write(f"{line}\n")
        self._stream.flush()


class Printer:
    """Calls `write` with each item in a thread, in order. `on_error`: called there with what it raises, once."""

    def __init__(self, write: Callable[[Item], None], on_error: Callable[[BaseException], object]) -> None:
        self._write, self._on_error = write, on_error
        self._waiting: deque[Item] = deque()
        self._size = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
        self._thread.start()

    def message(self, received: Received) -> None:
        """Print it, or count it where too many wait."""
        with self._changed:
            if len(self._waiting) < MAX_WAITING and self._size < MAX_WAITING_BYTES:
                self._waiting.append(received)
                self._size += len(received.payload)
            elif isinstance(last := self._waiting[-1], int):
                self._waiting[-1] = last + 1
            else:
                self._waiting.append(1)
            self._changed.notify()

    def notice(self, text: str) -> None:
        """Print it behind what waits."""
        with self._changed:
            self._waiting.append(text)
            self._changed.notify()

    def stop(self) -> None:
        """Print no more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(STOP_WAIT)

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._stopping)
                    if self._stopping:
                        return
                    item = self._waiting.popleft()
                    if isinstance(item, Received):
                        self._size -= len(item.payload)
                self._write(item)
        except BaseException as error:
            self._on_error(error)


def stdout_writer(describer: Describer, as_json: bool, wide: bool) -> LineWriter:
    return LineWriter(describer, sys.stdout, sys.stderr, as_json, wide)
