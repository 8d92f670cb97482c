"""The values of a rollout as an operator types them: shares as 5%, times as 90s, 10m, 2h, 1d. No I/O, no clock.

Every mistake is an OptionError that says what is right.
"""

import re
from fractions import Fraction
from typing import Any

from gateway.manager.errors import OptionError
from gateway.manager.rollouts.decisions import RolloutRules, Stage

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%?")
_DURATION = re.compile(r"(\d{1,6})([smhd])|0")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STOP_AT = Fraction(1, 10)
"""The default of `--stop-at` for a rollout of several stages."""


def parse_share(text: str, option: str) -> Fraction:
    """5% and 5 are a twentieth."""
    match = _SHARE.fullmatch(text.strip())
    share = Fraction(match[1]) / 100 if match else Fraction(2)
    if share > 1:
        raise OptionError(option, f"'{text}' is not a share: 0% to 100%")
    return share


def parse_nonzero_share(text: str, option: str) -> Fraction:
    share = parse_share(text, option)
    if not share:
        raise OptionError(option, f"'{text}': of the devices these are none; should be more than 0%")
    return share


def parse_duration(text: str, option: str) -> float:
    """Seconds. Only 0 needs no unit: nobody can know whether 5 is seconds or minutes."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise OptionError(option, f"'{text}' is not a time with its unit: 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]] if match[2] else 0.0


def parse_rollout_options(
    stages: str,
    min_success: str,
    wait: str,
    stop_at: str | None,
    stop_min: int,
    silent_after: str | None = None,
    max_silent: str = "10%",
) -> RolloutRules:
    """`stages`: shares with commas; `min_success`, `wait`: one for each stage but the last, or one for all of them."""
    shares = [parse_nonzero_share(each, "--stages") for each in stages.split(",")]
    successes = [parse_share(each, "--min-success") for each in _split(min_success, len(shares) - 1, "--min-success")]
    waits = [parse_duration(each, "--wait") for each in _split(wait, len(shares) - 1, "--wait")]
    parsed = [*map(Stage, shares[:-1], successes, waits), Stage(shares[-1])]
    limit = parse_share(stop_at, "--stop-at") if stop_at is not None else STOP_AT if len(shares) > 1 else None
    silent = None if silent_after is None else parse_duration(silent_after, "--silent-after")
    if silent == 0.0:
        raise OptionError("--silent-after", f"'{silent_after}': should be more than 0s")
    if stop_min < 1:
        raise OptionError("--stop-min", f"is {stop_min}: 1 or more results")
    try:
        return RolloutRules(tuple(parsed), limit, stop_min, silent, parse_share(max_silent, "--max-silent"))
    except ValueError as error:
        raise OptionError("--stages", f"{stages}: {error}, as 1%,10%,100%") from error


def rollout_members(rules: RolloutRules) -> dict[str, Any]:
    """As Deploy takes them; shares in percent. What is None is to be left out."""

    def percent(share: Fraction) -> float:
        return float(share * 100)

    stages = [
        {"Share": percent(each.share), "MinSuccess": percent(each.min_success), "Wait": each.wait}
        for each in rules.stages
    ]
    return {
        "Stages": stages,
        "StopAt": None if rules.stop_at is None else percent(rules.stop_at),
        "StopMin": rules.stop_min,
        "SilentAfter": rules.silent_after,
        "MaxSilent": None if rules.silent_after is None else percent(rules.max_silent),
    }


def _split(text: str, count: int, option: str) -> list[str]:
    """`count` values: as they are given, or the one that is given for all."""
    values = text.split(",")
    if len(values) not in (1, count):
        more = f", or {count}, one for each stage but the last" if count > 1 else ""
        raise OptionError(option, f"has {len(values)} values: should be one{more}")
    return values if len(values) == count else values * count
