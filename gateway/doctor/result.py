"""The result of a check: its level, what was found and what to do. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """WARN: it holds for now, or in part, or the doctor cannot know it."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line. `todo` is empty where there is nothing to do."""

    check: str
    level: Level
    found: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """A probe that could not finish: why."""

    detail: str


def passed(check: str, found: str) -> CheckResult:
    return CheckResult(check, Level.PASS, found)


def warned(check: str, found: str, todo: str) -> CheckResult:
    return CheckResult(check, Level.WARN, found, todo)


def failed(check: str, found: str, todo: str) -> CheckResult:
    return CheckResult(check, Level.FAIL, found, todo)


def unknown(check: str, reason: str, todo: str) -> CheckResult:
    """A warning: the doctor cannot know it."""
    return warned(check, f"cannot know: {reason}", todo)


def exit_status(results: Iterable[CheckResult]) -> int:
    """1 where a check failed, else 0."""
    return int(any(result.level is Level.FAIL for result in results))
