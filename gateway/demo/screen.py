"""How the demo looks: lines in two lanes, a table at the end. Rich draws; nothing is decided here.

A line stays one line: a narrow terminal cuts its end, a pipe or a file gets it whole and without colour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.demo.narration import Line, Tone, Way

WIDE = 400
"""Columns where there is no terminal: as many as a line needs."""
NARROW, TOO_NARROW = 100, 80
"""Columns below which some words are left out, and below which a table would be cut."""
STREET, GARDEN = 18, 26
"""Columns of the arrows: device to gateway, gateway to Edge Manager."""

_COLOURS = ("cyan", "magenta", "yellow", "blue")
_TONES = {Tone.ROUTINE: "dim", Tone.NEWS: "", Tone.GOOD: "bold green", Tone.BAD: "bold red"}


@dataclass(frozen=True, slots=True)
class Arrows:
    """What the lanes are drawn with."""

    street: str
    garden: str
    left: str
    right: str


UNICODE = Arrows("━", "─", "◀", "▶")
ASCII = Arrows("=", "-", "<", ">")


@dataclass(frozen=True, slots=True)
class Row:
    """A device in the table; sizes in bytes, of heartbeats alone. `http`: with all headers. `hello`: it came once."""

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
    """Rich would end the process where whoever reads has gone; ours still has parts to take down."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("nobody reads this any more")


class Screen:
    """`stream`: stdout or stderr."""

    def __init__(self, devices: Sequence[str], stream: TextIO, width: int | None = None) -> None:
        self._console = _Console(file=stream, highlight=False)
        if width is not None or not self._console.is_terminal:
            self._console.width = width or WIDE
        self._arrows = ASCII if self._console.options.ascii_only else UNICODE
        self._colours = dict(zip(devices, _COLOURS, strict=False))

    def line(self, line: Line) -> None:
        """One step of the way of a message."""
        colour = self._colours.get(line.device, "white")
        self._print(drawn(line, self._arrows, colour, narrow=self._console.width < NARROW))

    def fact(self, name: str, text: str) -> None:
        """A line of the head."""
        self._console.print(Text.assemble((f"  {name:<13}", "bold"), text), soft_wrap=self._is_piped)

    def act(self, text: str) -> None:
        """What the demo does now."""
        self._console.print()
        self._console.print(Text.assemble(("» ", "bold green"), (text, "bold")), soft_wrap=True)

    def say(self, text: str) -> None:
        """Words."""
        self._console.print(Text(text), soft_wrap=self._is_piped)

    def command(self, purpose: str, command: str) -> None:
        """Something to type; it stays whole, to be copied."""
        self._console.print(Text(f"\n# {purpose}", "dim"), soft_wrap=True)
        self._console.print(Text(command), soft_wrap=True)

    def table(self, rows: Sequence[Row]) -> None:
        """The end of the story."""
        self._console.print()
        if self._console.width < TOO_NARROW:
            self._console.print(listing(rows))
        else:
            self._console.print(table(rows, narrow=self._console.width < NARROW))
        self._console.print()
        self._console.print(Text(caption(rows), "dim"), soft_wrap=self._is_piped)

    @property
    def _is_piped(self) -> bool:
        return self._console.width >= WIDE

    def _print(self, text: Text) -> None:
        if self._is_piped:
            self._console.print(text, soft_wrap=True)
        else:
            self._console.print(text, no_wrap=True, overflow="ellipsis")


def drawn(line: Line, arrows: Arrows, colour: str, narrow: bool = False) -> Text:
    """`  1.2 dev-1 ━ hb 28 B ━━━━━━━▶ gateway  what it means`, or the gateway's way to the Edge Manager.

    `narrow`: beside that way there is no room for what it means, unless something is wrong.
    """
    tone = _TONES[line.tone]
    text = Text.assemble((f"{line.at:5.1f} ", "dim"), (f"{line.device:<5} ", colour))
    if line.way in (Way.TO_GATEWAY, Way.TO_DEVICE):
        text.append(_arrow(line, arrows.street, arrows, STREET, Way.TO_GATEWAY), colour)
        text.append(" gateway")
    else:
        text.append(" " * STREET + " gateway ")
        text.append(_arrow(line, arrows.garden, arrows, GARDEN, Way.TO_MANAGER), "green")
        text.append(" Edge Manager")
        if narrow and line.tone is not Tone.BAD:
            return text
    text.append(f"  {line.text}" if line.text else "", tone)
    return text


def _arrow(line: Line, shaft: str, arrows: Arrows, width: int, right: Way) -> str:
    """`width` columns, or as many as the label needs."""
    if line.way is right:
        return f"{shaft} {line.label} ".ljust(width - 1, shaft) + arrows.right
    return f"{arrows.left}{shaft} {line.label} ".ljust(width, shaft)


def table(rows: Sequence[Row], narrow: bool = False) -> Table:
    """A row a device, and their sum. `narrow`: for 80 columns."""
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


def listing(rows: Sequence[Row]) -> Text:
    """The same in words, which wrap."""
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


def _sizes(row: Row) -> tuple[str, str, str]:
    return f"{row.payload:,}", f"{row.packets:,}", f"{row.json:,}"


def _total(rows: Iterable[Row]) -> Row:
    sums = [(row.accepted, row.payload, row.packets, row.json, row.http, row.heartbeats, row.hello) for row in rows]
    accepted, *sizes = map(sum, zip(*sums, strict=True))
    return Row("all", "", accepted, "", "", *sizes)


def caption(rows: Sequence[Row]) -> str:
    """What the sizes are of, and what is not in them."""
    total = _total(rows)
    return (
        f"{total.heartbeats} heartbeats became {total.accepted} SendHeartbeat calls. Packets: the whole PUBLISH, "
        f"QoS 1. JSON: the calls' bodies; with HTTP's headers they had {total.http:,} bytes. "
        f"Besides, each device said one hello, {total.hello:,} bytes in all."
    )


def ratio(row: Row) -> str:
    """How many times the payloads the JSON is."""
    return f"{row.json / row.payload:.1f} x" if row.payload else "-"
