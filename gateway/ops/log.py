"""Configures the log of the process: text on a terminal, JSON otherwise, to stderr. Libraries log from WARNING on.

It must never show the local variables of a traceback: they may be secrets.
"""

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_log(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Configure structlog and logging. `stream` None: stderr.

    `level`: debug, info, warning or error. `form`: human, json, or auto (human if `stream` is a terminal). Loggers that
    were used before a second call keep their form.
    """
    target = sys.stderr if stream is None else stream
    human = form == "human" or (form == "auto" and target.isatty())
    timestamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human)
    first: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, timestamp]
    json: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    last = _human(target) if human else json
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=True,
    )
    _route_standard_library(target, first, last)


def _human(target: TextIO) -> list[Processor]:
    traceback = structlog.dev.plain_traceback
    render = structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=traceback, sort_keys=False)
    return [_escape_control_characters, render]


def _escape_control_characters(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A device must not control an operator's terminal. Escaped and not replaced: a log must lose nothing."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event


def _route_standard_library(target: TextIO, first: Sequence[Processor], last: Sequence[Processor]) -> None:
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
