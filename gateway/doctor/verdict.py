"""What the doctor says: one verdict for each promise, and what to do about it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a promise stands. WARN: it holds for now, in part, or nobody can know from here."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line: what was looked at, what was found there, and what to do where that is not right."""

    check: str
    level: Level
    found: str
    todo: str = ""


def passed(check: str, found: str) -> Verdict:
    return Verdict(check, Level.PASS, found)


def warned(check: str, found: str, todo: str) -> Verdict:
    return Verdict(check, Level.WARN, found, todo)


def failed(check: str, found: str, todo: str) -> Verdict:
    return Verdict(check, Level.FAIL, found, todo)


def unknown(check: str, reason: str, todo: str) -> Verdict:
    """Nobody can know from here: a warning that says so."""
    return warned(check, f"cannot know: {reason}", todo)


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """For scripts: 1 where anything failed, else 0."""
    return int(any(verdict.level is Level.FAIL for verdict in verdicts))
