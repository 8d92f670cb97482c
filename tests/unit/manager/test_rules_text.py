"""The values of a rollout, as an operator types them."""

from fractions import Fraction

import pytest

from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import AT_ONCE, Stage
from gateway.manager.rollouts.rules_text import parse_duration, parse_nonzero_share, parse_rollout_options, parse_share

TYPED = {"stages": "1%,10%,100%", "min_success": "90%", "wait": "0s", "stop_at": None, "stop_min": 10}


@pytest.mark.parametrize(
    ("text", "share"), [("5%", Fraction(1, 20)), ("5", Fraction(1, 20)), ("0.5%", Fraction(1, 200)), ("100%", 1)]
)
def test_shares(text, share):
    assert parse_share(text, "--percent") == share


@pytest.mark.parametrize("text", ["", "%", "101%", "-5%", "5 %", "five", "1e1", "nan"])
def test_text_that_is_not_a_share(text):
    with pytest.raises(ManagerError, match=f"--percent '{text}' is not a share: 0% to 100%"):
        parse_share(text, "--percent")


def test_a_share_of_devices_is_not_zero():
    with pytest.raises(ManagerError, match="more than 0%"):
        parse_nonzero_share("0%", "--stages")


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_times(text, seconds):
    assert parse_duration(text, "--wait") == seconds


@pytest.mark.parametrize("text", ["", "m", "5", "-1s", "1.5h", "1w", "1h30m"])
def test_text_that_is_not_a_time(text):
    with pytest.raises(ManagerError, match=f"--wait '{text}' is not a time with its unit: 90s, 10m, 2h or 1d"):
        parse_duration(text, "--wait")


def test_one_value_is_for_every_stage_but_the_last():
    rules = parse_rollout_options(**TYPED | {"wait": "1m"})
    nine = Fraction(9, 10)
    assert rules.stages == (Stage(Fraction(1, 100), nine, 60), Stage(Fraction(1, 10), nine, 60), Stage(Fraction(1)))
    assert (rules.stop_at, rules.stop_min) == (Fraction(1, 10), 10)


def test_a_value_for_each_stage():
    rules = parse_rollout_options(**TYPED | {"min_success": "100%,50%", "wait": "1h,10m", "stop_at": "5%"})
    assert [(each.min_success, each.wait) for each in rules.stages[:-1]] == [(1, 3600), (Fraction(1, 2), 600)]
    assert rules.stop_at == Fraction(1, 20)


def test_one_stage_has_no_limit_by_default():
    assert parse_rollout_options(**TYPED | {"stages": "100%"}).stages == AT_ONCE.stages
    assert parse_rollout_options(**TYPED).silent_after is None
    silence = parse_rollout_options(**TYPED | {"silent_after": "24h", "max_silent": "5%"})
    assert (silence.silent_after, silence.max_silent) == (86_400.0, Fraction(1, 20))
    assert parse_rollout_options(**TYPED | {"stages": "100%"}).stop_at is None
    assert parse_rollout_options(**TYPED | {"stages": "100%", "stop_at": "0%"}).stop_at == 0


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"stages": "1%,10%"}, "stages grow, and the last one is 100%, as 1%,10%,100%"),
        ({"stages": "10%,1%,100%"}, "stages grow"),
        ({"stages": "0%,100%"}, "more than 0%"),
        ({"wait": "1m,1m,1m"}, "--wait has 3 values: should be one, or 2, one for each stage but the last"),
        ({"min_success": "1,2,3"}, "--min-success has 3 values"),
        ({"stop_min": 0}, "--stop-min is 0"),
        ({"silent_after": "24"}, "--silent-after '24' is not a time"),
        ({"silent_after": "0s"}, "--silent-after '0s'"),
        ({"max_silent": "x"}, "--max-silent 'x' is not a share"),
    ],
)
def test_options_that_are_not_possible(typed, message):
    with pytest.raises(ManagerError, match=message):
        parse_rollout_options(**TYPED | typed)
