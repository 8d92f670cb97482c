"""What a rollout does next: the rules on examples, and over whatever rollouts and results hypothesis finds."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.rollouts.decisions import (
    Begin,
    DeviceState,
    End,
    Give,
    Progress,
    Rules,
    Stage,
    State,
    Withdraw,
    decide,
    order,
    portion,
)

TENTH = Fraction(1, 10)
THREE = (Stage(Fraction(1, 100), Fraction(9, 10), 60), Stage(TENTH, Fraction(9, 10), 60), Stage(Fraction(1)))
NAMES = st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=40, unique=True)


UNLIMITED = Rules(THREE)


def progress(stage: int = 0, state: State = State.RUNNING, rules: Rules = UNLIMITED, **devices: int) -> Progress:
    return Progress(rules, state, stage, 1000.0, {DeviceState(name): count for name, count in devices.items()})


@pytest.mark.parametrize(
    ("stage", "devices", "step"),
    [
        (0, {"waiting": 1000}, Give(10)),
        (0, {"waiting": 994, "given": 6}, Give(4)),
        (0, {"waiting": 990, "given": 1, "succeeded": 9}, Begin(1)),
        (0, {"waiting": 990, "fetched": 2, "succeeded": 8}, None),
        (0, {"waiting": 990, "failed": 1, "succeeded": 9}, Begin(1)),
        (1, {"waiting": 990, "succeeded": 10}, Give(90)),
        (1, {"waiting": 900, "succeeded": 90, "given": 10}, Begin(2)),
        (2, {"waiting": 1, "succeeded": 999}, Give(1)),
        (2, {"fetched": 1, "succeeded": 999}, None),
        (2, {"failed": 100, "succeeded": 900}, End(State.COMPLETED)),
        (2, {"superseded": 100, "succeeded": 900}, End(State.COMPLETED)),
    ],
)
def test_a_rollout_of_a_thousand_devices_without_a_limit(stage, devices, step):
    assert decide(progress(stage, **devices), 1060.0) == step


def test_a_stage_lasts_its_time():
    assert decide(progress(waiting=990, succeeded=10), 1059.9) is None
    assert decide(progress(waiting=990, succeeded=10), 1060.0) == Begin(1)


def test_a_share_of_few_devices_is_one_device():
    assert decide(progress(waiting=3), 0.0) == Give(1)


LIMITED = Rules(THREE, Fraction(1, 20), 20)


@pytest.mark.parametrize(
    ("stage", "devices", "stops"),
    [
        (0, {"waiting": 990, "failed": 1, "given": 9}, True),  # more than 5% of these ten, whatever the others tell
        (1, {"waiting": 900, "failed": 1, "succeeded": 5, "fetched": 94}, False),  # six results are too few to judge
        (1, {"waiting": 990, "failed": 1, "succeeded": 9}, False),  # the other ninety of its stage may mend it
        (1, {"waiting": 900, "failed": 1, "succeeded": 19, "fetched": 80}, False),  # 5% are not more than 5%
        (1, {"waiting": 900, "failed": 2, "succeeded": 18, "fetched": 80}, True),
        (1, {"waiting": 900, "failed": 6, "given": 94}, True),
        (2, {"failed": 50, "succeeded": 950}, False),
        (2, {"failed": 51, "succeeded": 949}, True),
    ],
)
def test_the_limit(stage, devices, stops):
    step = decide(progress(stage, rules=LIMITED, **devices), 0.0)
    assert (isinstance(step, End) and step.state is State.STOPPED) == stops


def test_why_it_stopped_is_told():
    step = decide(progress(2, rules=LIMITED, failed=51, succeeded=949), 0.0)
    assert step == End(State.STOPPED, "51 of 1000 results are FAIL, more than 5%")


def test_zero_per_cent_stops_at_the_first():
    rules = Rules(stop_at=Fraction(0), stop_min=1)
    assert isinstance(decide(progress(rules=rules, failed=1, succeeded=500, given=499), 0.0), End)


def test_paused_gives_nothing_and_still_stops():
    assert decide(progress(state=State.PAUSED, waiting=1000), 9e9) is None
    assert isinstance(decide(progress(state=State.PAUSED, rules=LIMITED, waiting=990, failed=10), 0.0), End)


@pytest.mark.parametrize("state", [State.STOPPED, State.ABORTED])
def test_what_is_halted_takes_back_what_nobody_fetched_and_nothing_else(state):
    assert decide(progress(state=state, waiting=900, given=50, fetched=50), 9e9) == Withdraw()
    assert decide(progress(state=state, waiting=900, withdrawn=50, fetched=50), 9e9) is None


@pytest.mark.parametrize("shares", [(), (50,), (50, 50, 100), (100, 50), (0, 100), (50, 110)])
def test_stages_that_cannot_be(shares):
    with pytest.raises(ValueError, match="stages grow"):
        Rules(tuple(Stage(Fraction(share, 100)) for share in shares))


def test_the_order_is_the_same_for_ever():
    """Whoever deploys again under a name, in another version or country, reaches the same devices."""
    assert order("kws-1", [f"d{number}" for number in range(6)]) == ["d2", "d5", "d1", "d3", "d0", "d4"]


@given(NAMES, NAMES)
def test_an_order_is_of_all_devices_and_hangs_on_the_names_alone(devices, names):
    assert sorted(order("n", devices)) == sorted(devices)
    assert order("n", reversed(devices)) == order("n", devices)
    ranked = order("n", set(devices) | set(names))
    assert [each for each in ranked if each in set(devices)] == order("n", devices)


@given(NAMES, st.fractions(Fraction(1, 1000), 1), st.fractions(Fraction(1, 1000), 1))
def test_a_larger_portion_contains_the_smaller(devices, one, other):
    small, large = (portion("n", devices, share) for share in sorted((one, other)))
    assert large[: len(small)] == small
    assert len(small) == ceil(min(one, other) * len(devices)) >= 1


STAGES = st.lists(st.integers(1, 99), max_size=4, unique=True).map(
    lambda shares: tuple(Stage(Fraction(share, 100), Fraction(1, 2), 5) for share in [*sorted(shares), 100])
)
RULES = st.builds(Rules, STAGES, st.none() | st.fractions(0, 1), st.integers(1, 20))
VERDICTS = st.lists(st.sampled_from([DeviceState.SUCCEEDED, DeviceState.FAILED]), min_size=1, max_size=60)


def counted(states: Mapping[int, DeviceState]) -> dict[DeviceState, int]:
    return {each: list(states.values()).count(each) for each in DeviceState}


@given(RULES, VERDICTS)
def test_any_rollout_ends_and_never_goes_beyond_its_stage_or_its_limit(rules, verdicts):
    """Every device answers what it is given; each of its answers lets the rollout take all steps that are due."""
    states = dict.fromkeys(range(len(verdicts)), DeviceState.WAITING)
    now = Progress(rules, State.RUNNING, 0, 0.0, counted(states))
    clock, given_after_the_limit = 0.0, False
    for _ in range(20 * len(verdicts) + 100):
        step = decide(replace(now, devices=counted(states)), clock)
        match step:
            case Give(count):
                waiting = [each for each, state in states.items() if state is DeviceState.WAITING]
                states |= dict.fromkeys(waiting[:count], DeviceState.FETCHED)
                limit = rules.stop_at
                failed = counted(states)[DeviceState.FAILED]
                told = failed + counted(states)[DeviceState.SUCCEEDED]
                given_after_the_limit |= limit is not None and told >= rules.stop_min and failed > limit * told
            case Begin(stage):
                assert stage == now.stage + 1
                now = replace(now, stage=stage, since=clock)
            case End(state):
                now = replace(now, state=state)
            case None:
                asked = [each for each, state in states.items() if state is DeviceState.FETCHED]
                states |= {each: verdicts[each] for each in asked[:1]}
                clock += 1.0
        reached = len(states) - counted(states)[DeviceState.WAITING]
        assert reached <= now.bound(now.stage)
    assert not given_after_the_limit
    half_failed = 2 * counted(states)[DeviceState.SUCCEEDED] < reached
    assert now.state in (State.COMPLETED, State.STOPPED) or half_failed
    if now.state is State.COMPLETED:
        assert all(states[each] is verdict for each, verdict in enumerate(verdicts))
