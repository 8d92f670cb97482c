"""Lines on a terminal and in a pipe, and what happens where nobody reads them fast enough."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.watch.messages import UNANSWERED, Describer, Received
from gateway.watch.printer import MAX_WAITING, Item, LineWriter, Printer
from tests.support.arrivals import Arrivals

LONG = Received(1_795_458_600.0, "edge/fleet-a/dev-1/dead", b"\x93" * 60)
ACK = Received(1_795_458_600.0, "edge/fleet-a/dev-1/ack", b"\x93\x01\x00\x02")


class Stream(io.TextIOWrapper):
    """A terminal, or a pipe."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def lines(stream: Stream, *items: Item, as_json: bool = False, wide: bool = False) -> list[str]:
    writer = LineWriter(Describer("edge"), stream, stream, as_json, wide)
    for item in items:
        writer.write(item)
    return stream.text.splitlines()


def test_a_pipe_gets_whole_lines_without_colour() -> None:
    line, not_shown = lines(Stream(), LONG, 1234)
    assert line[8:] == f" ◀── fleet-a/dev-1 dead  refused payload: {'93' * 60}"
    assert not_shown == "… 1,234 messages not shown"


def test_a_stream_without_unicode_gets_ascii() -> None:
    name = Received(ACK.at, "edge/f/d\u00e9/ack", b"\x93\x01\x00\x02")
    ack, not_shown = lines(Stream("ascii"), name, 5)
    assert ack[8:].startswith(" <-- f/d\\xe9 ack   cannot be decoded: device: 'd\\xe9'")
    assert not_shown == "... 5 messages not shown"


def test_for_programs_each_line_is_an_object() -> None:
    ack, not_shown = (json.loads(line) for line in lines(Stream(), ACK, 5, as_json=True))
    assert ack["content"] == {"seq": 1, "code": 0, "time": 2}
    assert not_shown == {"not_shown": 5}


def test_a_terminal_gets_a_coloured_line_that_is_cut() -> None:
    (line,) = lines(Stream(is_terminal=True), LONG)
    assert line[8:].startswith(" \x1b[32m◀── fleet-a/dev-1 dead \x1b[0m refused payload: 9393")
    assert line.endswith("…")
    assert len(line.replace("\x1b[32m", "").replace("\x1b[0m", "")) == 80


def test_wide_shows_all_on_a_terminal() -> None:
    assert "".join(lines(Stream(is_terminal=True), LONG, wide=True)).endswith("93" * 60)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in "".join(lines(Stream(is_terminal=True), ACK, LONG))


def test_a_notice_stands_on_its_line_and_cannot_act_on_the_terminal() -> None:
    assert lines(Stream(), "lost\x1b[2J") == ["lost?[2J"]


def test_a_gateway_that_is_not_seen_is_noticed() -> None:
    asks = Received(0.0, "edge/f/d/get", b"\x92\x00\x07")
    later = Received(60.0, "edge/f/d/get", b"\x92\x00\x07")
    assert lines(Stream(), asks, later)[1] == UNANSWERED


@contextmanager
def printing(arrivals: Arrivals[Item], may_print: threading.Semaphore) -> Iterator[Printer]:
    """It prints one item for each permit."""

    def write(item: Item) -> None:
        may_print.acquire()
        arrivals.put(item)

    printer = Printer(write, lambda error: None)
    try:
        yield printer
    finally:
        may_print.release(10 * MAX_WAITING)
        printer.stop()


def test_what_comes_faster_than_it_is_printed_is_counted_in_its_place() -> None:
    arrivals, may_print = Arrivals[Item]("item"), threading.Semaphore(0)
    with printing(arrivals, may_print) as printer:
        for _ in range(MAX_WAITING + 501):
            printer.message(ACK)
        printer.notice("a notice is never dropped")
        may_print.release(2 * MAX_WAITING)
        arrivals.next(lambda item: isinstance(item, str))
        shown = arrivals.so_far()
        printer.message(LONG)
        assert arrivals.next(lambda item: item is LONG)
    # One may have been taken out of the queue before it was full.
    assert shown.count(ACK) + int(shown[-1]) == MAX_WAITING + 501  # type: ignore[call-overload]
    assert shown.count(ACK) in (MAX_WAITING, MAX_WAITING + 1)


def test_large_messages_are_counted_by_their_bytes() -> None:
    arrivals, may_print = Arrivals[Item]("item"), threading.Semaphore(0)
    large = Received(0.0, "edge/f/d/block", bytes(4 * 1024 * 1024))
    with printing(arrivals, may_print) as printer:
        for _ in range(10):
            printer.message(large)
        may_print.release(20)
        assert arrivals.next(lambda item: isinstance(item, int)) in (7, 8)


def test_what_cannot_be_written_is_reported_once() -> None:
    errors = Arrivals[BaseException]("error")

    def write(item: Item) -> None:
        raise BrokenPipeError

    printer = Printer(write, errors.put)
    printer.message(ACK)
    printer.message(ACK)
    assert isinstance(errors.next(), BrokenPipeError)
    printer.stop()
    assert errors.so_far() == []
