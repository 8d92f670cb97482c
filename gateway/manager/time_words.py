"""Lengths of time in words. No I/O, no clock."""

from math import ceil

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_words(seconds: float) -> str:
    """In the largest unit of which it is a whole number: 90 min, 2 h."""
    size, unit = next((each for each in _UNITS if seconds >= each[0] and not seconds % each[0]), _UNITS[-1])
    return f"{seconds / size:g} {unit}"


def time_left_words(seconds: float) -> str:
    """In the largest unit that it has two of, rounded up: 90 s, 2 min, 25 h."""
    size, unit = _unit_of(seconds)
    return f"{ceil(seconds / size):,} {unit}"


def ago_words(seconds: float) -> str:
    """How long ago, in the largest unit that it has two of, rounded down; of a clock that is ahead: just now."""
    if seconds < 1:
        return "just now"
    size, unit = _unit_of(seconds)
    return f"{int(seconds // size):,} {unit} ago"


def _unit_of(seconds: float) -> tuple[int, str]:
    return next((each for each in _UNITS if seconds >= 2 * each[0]), _UNITS[-1])
