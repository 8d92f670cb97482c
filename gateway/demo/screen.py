"""Prints the demo's lines and its table, with rich.

A line must never become two: a narrow terminal cuts its end, a pipe or a file gets all of it, without colour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.demo.narration import Direction, EventLine, Tone

PIPE_WIDTH = 400
"""Columns without a terminal: as many as a line needs."""
SHORT_LINES_BELOW, NO_TABLE_BELOW = 100, 80
"""Columns: below the first some words are left out, below the second a table would be cut."""
DEVICE_SIDE, SERVICE_SIDE = 18, 26
"""Columns of the arrows between device and gateway, and between gateway and Edge Manager."""

_COLOURS = ("cyan", "magenta", "yellow", "blue")
_TONES = {Tone.ROUTINE: "dim", Tone.NEWS: "", Tone.GOOD: "bold green", Tone.BAD: "bold red"}


@dataclass(frozen=True, slots=True)
class Arrows:
    device_side: str
    service_side: str
    left: str
    right: str


UNICODE = Arrows("━", "─", "◀", "▶")
ASCII = Arrows("=", "-", "<", ">")


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device in the table. Sizes are bytes of heartbeats; `http`: with all headers; `hello`: of the one hello."""

    device: str
    runtime: str
    accepted: int
    plan: str
    result: str
    payload: int
    packets: int
    json: int
    http: int
    heartbeats: int
    hello: int


class _Console(Console):
    """On a broken pipe rich ends the process. The demo must still stop its processes."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("nobody reads the output")


class Screen:
    """`stream`: stdout or stderr."""

    def __init__(self, devices: Sequence[str], stream: TextIO, width: int | None = None) -> None:
        self._console = _Console(file=stream, highlight=False)
        if width is not None or not self._console.is_terminal:
            self._console.width = width or PIPE_WIDTH
        self._arrows = ASCII if self._console.options.ascii_only else UNICODE
        self._colours = dict(zip(devices, _COLOURS, strict=False))

    def event(self, line: EventLine) -> None:
        colour = self._colours.get(line.device, "white")
        self._print(format_event(line, self._arrows, colour, narrow=self._console.width < SHORT_LINES_BELOW))

    def header(self, name: str, text: str) -> None:
        self._console.print(Text.assemble((f"  {name:<13}", "bold"), text), soft_wrap=self._is_piped)

    def step(self, text: str) -> None:
        """What the demo does next."""
        self._console.print()
        self._console.print(Text.assemble(("» ", "bold green"), (text, "bold")), soft_wrap=True)

    def text(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=self._is_piped)

    def command(self, purpose: str, command: str) -> None:
        """A command to copy: its line is never cut."""
        self._console.print(Text(f"\n# {purpose}", "dim"), soft_wrap=True)
        self._console.print(Text(command), soft_wrap=True)

    def table(self, rows: Sequence[DeviceRow]) -> None:
        self._console.print()
        if self._console.width < NO_TABLE_BELOW:
            self._console.print(listing(rows))
        else:
            self._console.print(table(rows, narrow=self._console.width < SHORT_LINES_BELOW))
        self._console.print()
        self._console.print(Text(caption(rows), "dim"), soft_wrap=self._is_piped)

    @property
    def _is_piped(self) -> bool:
        return self._console.width >= PIPE_WIDTH

    def _print(self, text: Text) -> None:
        if self._is_piped:
            self._console.print(text, soft_wrap=True)
        else:
            self._console.print(text, no_wrap=True, overflow="ellipsis")


def format_event(line: EventLine, arrows: Arrows, colour: str, narrow: bool = False) -> Text:
    """`  1.2 dev-1 ━ hb 28 B ━━━━━━━▶ gateway  meaning`, or an arrow between gateway and Edge Manager.

    `narrow`: the second kind has no meaning, except for errors.
    """
    tone = _TONES[line.tone]
    text = Text.assemble((f"{line.at:5.1f} ", "dim"), (f"{line.device:<5} ", colour))
    if line.direction in (Direction.TO_GATEWAY, Direction.TO_DEVICE):
        text.append(_arrow(line, arrows.device_side, arrows, DEVICE_SIDE, Direction.TO_GATEWAY), colour)
        text.append(" gateway")
    else:
        text.append(" " * DEVICE_SIDE + " gateway ")
        text.append(_arrow(line, arrows.service_side, arrows, SERVICE_SIDE, Direction.TO_MANAGER), "green")
        text.append(" Edge Manager")
        if narrow and line.tone is not Tone.BAD:
            return text
    text.append(f"  {line.text}" if line.text else "", tone)
    return text


def _arrow(line: EventLine, shaft: str, arrows: Arrows, width: int, right: Direction) -> str:
    """`width` columns, or as many as the label needs."""
    if line.direction is right:
        return f"{shaft} {line.label} ".ljust(width - 1, shaft) + arrows.right
    return f"{arrows.left}{shaft} {line.label} ".ljust(width, shaft)


def table(rows: Sequence[DeviceRow], narrow: bool = False) -> Table:
    """One row for each device, and their sum. `narrow`: for 80 columns."""
    grid = Table(
        box=box.SIMPLE_HEAD, show_footer=True, show_edge=False, pad_edge=False, padding=(0, 0) if narrow else (0, 1)
    )
    total = _total(rows)
    grid.add_column("device", footer="all", no_wrap=True)
    grid.add_column("runtime", max_width=16 if narrow else None)
    grid.add_column("plan", no_wrap=True)
    grid.add_column("result", no_wrap=True)
    grid.add_column("beats\naccepted", footer=f"{total.accepted}", justify="right", no_wrap=True)
    for name, size in zip(("payloads,\nbytes", "packets,\nbytes", "JSON,\nbytes"), _sizes(total), strict=True):
        grid.add_column(name, footer=size, justify="right", no_wrap=True)
    grid.add_column("JSON /\npayload", footer=ratio(total), justify="right", no_wrap=True)
    for row in rows:
        result = Text(row.result, "green" if row.result == "SUCCESS" else "red")
        grid.add_row(row.device, row.runtime, row.plan, result, f"{row.accepted}", *_sizes(row), ratio(row))
    return grid


def listing(rows: Sequence[DeviceRow]) -> Text:
    """The same as wrapped text."""
    text = Text()
    for row in (*rows, _total(rows)):
        text.append(f"{row.device}", "bold").append(f"{', ' + row.runtime if row.runtime else ''}: ")
        text.append(f"plan {row.plan}, {row.result}, " if row.plan else "")
        text.append(
            f"{row.accepted} heartbeats accepted, payloads {row.payload:,} bytes, packets {row.packets:,} bytes, "
        )
        text.append(f"JSON {row.json:,} bytes, {ratio(row)} the payloads\n")
    text.rstrip()
    return text


def _sizes(row: DeviceRow) -> tuple[str, str, str]:
    return f"{row.payload:,}", f"{row.packets:,}", f"{row.json:,}"


def _total(rows: Iterable[DeviceRow]) -> DeviceRow:
    sums = [(row.accepted, row.payload, row.packets, row.json, row.http, row.heartbeats, row.hello) for row in rows]
    accepted, *sizes = map(sum, zip(*sums, strict=True))
    return DeviceRow("all", "", accepted, "", "", *sizes)


def caption(rows: Sequence[DeviceRow]) -> str:
    """What the sizes in the table include."""
    total = _total(rows)
    return (
        f"{total.heartbeats} heartbeats became {total.accepted} SendHeartbeat calls. Packets: the whole PUBLISH, "
        f"QoS 1. JSON: the calls' bodies; with HTTP's headers they had {total.http:,} bytes. "
        f"Each device also sent one hello, {total.hello:,} bytes in all."
    )


def ratio(row: DeviceRow) -> str:
    """Size of the JSON, divided by that of the payloads."""
    return f"{row.json / row.payload:.1f} x" if row.payload else "-"
