"""What an operator types about a rollout -> its rules: shares as 5%, times as 90s, 10m, 2h, 1d. No I/O.

Every mistake is a ManagerError that says what would be right.
"""

import re
from fractions import Fraction

from gateway.manager.errors import ManagerError
from gateway.manager.rollouts.decisions import Rules, Stage

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%?")
_TIME = re.compile(r"(\d{1,6})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
STOP_AT = Fraction(1, 10)
"""What a rollout of several stages stops at where nobody says otherwise."""


def read_share(text: str) -> Fraction:
    """5% or 5 is a twentieth."""
    match = _SHARE.fullmatch(text.strip())
    share = Fraction(match[1]) / 100 if match else Fraction(2)
    if share > 1:
        raise ManagerError(f"'{text}' is no share: 0% to 100%")
    return share


def read_part(text: str) -> Fraction:
    """A share of devices that is not nothing."""
    share = read_share(text)
    if not share:
        raise ManagerError(f"'{text}' of the devices are none: more than 0%")
    return share


def read_time(text: str) -> float:
    """Seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ManagerError(f"'{text}' is no time: 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def read_rules(stages: str, min_success: str, wait: str, stop_at: str | None, stop_min: int) -> Rules:
    """`stages`: shares with commas; `min_success`, `wait`: one for each stage but the last, or one for all of them."""
    shares = [read_part(each) for each in stages.split(",")]
    successes = [read_share(each) for each in _each(min_success, len(shares) - 1, "--min-success")]
    waits = [read_time(each) for each in _each(wait, len(shares) - 1, "--wait")]
    staged = [*map(Stage, shares[:-1], successes, waits), Stage(shares[-1])]
    limit = read_share(stop_at) if stop_at is not None else STOP_AT if len(shares) > 1 else None
    if stop_min < 1:
        raise ManagerError(f"--stop-min is {stop_min}: 1 or more results")
    try:
        return Rules(tuple(staged), limit, stop_min)
    except ValueError as error:
        raise ManagerError(f"--stages {stages}: {error}, as 1%,10%,100%") from error


def _each(text: str, count: int, option: str) -> list[str]:
    texts = text.split(",")
    if len(texts) not in (1, count):
        raise ManagerError(f"{option} has {len(texts)} values: one, or {count}, one for each stage but the last")
    return texts if len(texts) == count else texts * count
