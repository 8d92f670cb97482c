"""Configures the log of the process: text on a terminal, JSON otherwise, to stderr. Libraries log from WARNING on.

A call of the log never raises and never waits: what follows it must happen, whatever becomes of the line.
It must never show the local variables of a traceback: they may be secrets.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.stderr import StderrWriter, protect_stderr

LOST = "log events could not be written and are lost; check what reads stderr, and its disk"
UNRENDERABLE = "internal error: a log event could not be rendered; please report it"
_METHODS = ("debug", "info", "warning", "error", "critical", "exception")


def configure_log(level: str = "info", form: str = "auto", target: StderrWriter | None = None) -> StderrWriter:
    """Configure structlog and logging; the stream to which they write. `target` None: stderr.

    `level`: debug, info, warning or error. `form`: human, json, or auto (human if `target` is a terminal). Loggers that
    were used before a second call keep their form.
    """
    target = protect_stderr() if target is None else target
    human = form == "human" or (form == "auto" and target.isatty())
    timestamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human)
    first: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, timestamp]
    json: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    last = _human(target) if human else json

    def render(method: str, **event: Any) -> str:
        for processor in (*first, *last):
            event = processor(None, method, event)  # type: ignore[assignment]  # the last one makes the text
        return f"{event}\n"

    def unrenderable(error: Exception, text: object) -> None:
        text = text if isinstance(text, str) else ""  # nothing that could raise again
        target.write(render("error", event=UNRENDERABLE, text=text, error=type(error).__name__))

    structlog.configure(
        processors=[*first, *last],
        wrapper_class=_never_raising(logging.getLevelNamesMapping()[level.upper()], unrenderable),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", target)),
        cache_logger_on_first_use=True,
    )
    _route_standard_library(_Handler(target, unrenderable), first, last)
    target.start(lambda lost: render("warning", event=LOST, lost=lost))
    return target


def _human(target: StderrWriter) -> list[Processor]:
    traceback = structlog.dev.plain_traceback
    colors = target.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=traceback, sort_keys=False)
    return [_escape_control_characters, render]


def _escape_control_characters(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A device must not control an operator's terminal. Escaped and not replaced: a log must lose nothing."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def _never_raising(level: int, on_error: Callable[[Exception, object], None]) -> type[Any]:
    """A bound logger whose methods report to `on_error` what a value in an event raises, with the event's text."""
    base = structlog.make_filtering_bound_logger(level)

    def guarded(name: str) -> Callable[..., Any]:
        method = getattr(base, name)

        @wraps(method)
        def log(self: Any, *args: Any, **fields: Any) -> Any:
            try:
                return method(self, *args, **fields)
            except Exception as error:
                on_error(error, args[0] if args else "")

        return log

    return type("Logger", (base,), {name: guarded(name) for name in _METHODS})


class _Handler(logging.StreamHandler[StderrWriter]):
    """The same for the records of libraries."""

    def __init__(self, target: StderrWriter, on_error: Callable[[Exception, object], None]) -> None:
        super().__init__(target)
        self._on_error = on_error

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(self.format(record) + self.terminator)
        except Exception as error:
            self._on_error(error, record.msg)


def _route_standard_library(handler: logging.Handler, first: Sequence[Processor], last: Sequence[Processor]) -> None:
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
