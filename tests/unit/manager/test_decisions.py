"""The next step of a rollout: the rules on examples, and on rollouts and results that hypothesis makes."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.rollouts.decisions import (
    AssignNext,
    Finish,
    Progress,
    RolloutDeviceState,
    RolloutRules,
    RolloutState,
    Stage,
    StartStage,
    TakeBack,
    count_time,
    next_step,
    rollout_order,
    select_share,
)

TENTH = Fraction(1, 10)
THREE = (Stage(Fraction(1, 100), Fraction(9, 10), 60), Stage(TENTH, Fraction(9, 10), 60), Stage(Fraction(1)))
NAMES = st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=40, unique=True)


UNLIMITED = RolloutRules(THREE)


def progress(
    stage: int = 0, state: RolloutState = RolloutState.RUNNING, rules: RolloutRules = UNLIMITED, **devices: int
) -> Progress:
    """Of a stage that lasted for 60 s."""
    return Progress(rules, state, stage, 60, 1000, {RolloutDeviceState(name): count for name, count in devices.items()})


@pytest.mark.parametrize(
    ("stage", "devices", "step"),
    [
        (0, {"waiting": 1000}, AssignNext(10)),
        (0, {"waiting": 990, "succeeded": 8, "skipped": 2}, StartStage(1)),
        (0, {"waiting": 994, "given": 6}, AssignNext(4)),
        (0, {"waiting": 990, "given": 1, "succeeded": 9}, StartStage(1)),
        (0, {"waiting": 990, "fetched": 2, "succeeded": 8}, None),
        (0, {"waiting": 990, "failed": 1, "succeeded": 9}, StartStage(1)),
        (1, {"waiting": 990, "succeeded": 10}, AssignNext(90)),
        (1, {"waiting": 900, "succeeded": 90, "given": 10}, StartStage(2)),
        (2, {"waiting": 1, "succeeded": 999}, AssignNext(1)),
        (2, {"fetched": 1, "succeeded": 999}, None),
        (2, {"failed": 100, "succeeded": 900}, Finish(RolloutState.COMPLETED)),
        (2, {"superseded": 100, "succeeded": 900}, Finish(RolloutState.COMPLETED)),
    ],
)
def test_a_rollout_of_a_thousand_devices_without_a_limit(stage, devices, step):
    assert next_step(progress(stage, **devices)) == step


def test_a_stage_lasts_its_time():
    ready = progress(waiting=990, succeeded=10)
    assert next_step(replace(ready, lasted=59.9)) is None
    assert next_step(ready) == StartStage(1)


@pytest.mark.parametrize(
    ("lasted", "now", "passed", "counted"),
    [
        (0.0, 1010.0, 10.0, 10.0),
        (20.0, 1010.0, 10.0, 30.0),
        (20.0, 1000.0 + 86400, 10.0, 30.0),  # the clock was set ahead
        (20.0, 1000.0 - 86400, 10.0, 20.0),  # it was set back
        (20.0, 1005.0, 10.0, 25.0),  # another process counted meanwhile
        (60.0, 1010.0, 10.0, None),
    ],
)
def test_a_clock_that_jumps_counts_as_no_more_than_what_passed(lasted, now, passed, counted):
    found = count_time(replace(progress(waiting=1000), lasted=lasted), now, passed)
    assert (None if found is None else found.lasted) == counted


def test_no_time_is_counted_where_none_is_waited_for():
    assert count_time(replace(progress(2, waiting=1), lasted=0.0), 1010.0, 10.0) is None
    ended = replace(progress(state=RolloutState.STOPPED, waiting=1), lasted=0.0)
    assert count_time(ended, 1010.0, 10.0) is None


WATCHED = RolloutRules(THREE, silent_after=3600.0, max_silent=TENTH)


@pytest.mark.parametrize(
    ("now", "passed", "watched"),
    [
        (1010.0, 10.0, 500.0),
        (1069.0, 10.0, 500.0),
        (1005.0, 300.0, 500.0),  # another process counted meanwhile
        (1070.0, 10.0, 1070.0),  # the clock was set ahead, or nobody counted
        (940.0, 10.0, 940.0),  # it was set back
    ],
)
def test_silence_counts_anew_from_a_clock_that_jumps(now, passed, watched):
    """Also in the last stage, which waits for no time."""
    for stage in (0, 2):
        found = count_time(replace(progress(stage, rules=WATCHED, given=9), watched=500.0), now, passed)
        assert (found.lasted, found.watched) == (60.0, watched)


@pytest.mark.parametrize(
    ("stage", "silent", "devices", "step"),
    [
        (1, 10, {"waiting": 900, "succeeded": 90, "given": 10}, StartStage(2)),
        (1, 10, {"waiting": 900, "succeeded": 81, "failed": 9, "given": 10}, StartStage(2)),  # 90% of 90
        (1, 10, {"waiting": 900, "succeeded": 80, "fetched": 20}, None),
        (1, 11, {"waiting": 900, "succeeded": 80, "given": 20}, None),  # more than a tenth
        (1, 30, {"waiting": 900, "succeeded": 89, "failed": 6, "given": 5}, StartStage(2)),  # five are left of those
        (2, 100, {"succeeded": 900, "given": 100}, Finish(RolloutState.COMPLETED)),
        (2, 99, {"succeeded": 900, "given": 100}, None),
        (2, 101, {"succeeded": 899, "given": 101}, None),
    ],
)
def test_silent_devices_within_their_share_do_not_count(stage, silent, devices, step):
    assert next_step(replace(progress(stage, rules=WATCHED, **devices), silent=silent)) == step


def test_a_share_of_few_devices_is_one_device():
    assert next_step(progress(waiting=3)) == AssignNext(1)


LIMITED = RolloutRules(THREE, Fraction(1, 20), 20)


@pytest.mark.parametrize(
    ("stage", "devices", "stops"),
    [
        (0, {"waiting": 990, "failed": 1, "given": 9}, True),  # more than 5% of these ten, whatever the others report
        (1, {"waiting": 900, "failed": 1, "succeeded": 5, "fetched": 94}, False),  # six results are too few
        (1, {"waiting": 990, "failed": 1, "succeeded": 9}, False),  # the other ninety of its stage may change it
        (1, {"waiting": 900, "failed": 1, "succeeded": 19, "fetched": 80}, False),  # 5% are not more than 5%
        (1, {"waiting": 900, "failed": 2, "succeeded": 18, "fetched": 80}, True),
        (1, {"waiting": 900, "failed": 6, "given": 94}, True),
        (2, {"failed": 50, "succeeded": 950}, False),
        (2, {"failed": 51, "succeeded": 949}, True),
    ],
)
def test_the_limit(stage, devices, stops):
    step = next_step(progress(stage, rules=LIMITED, **devices))
    assert (isinstance(step, Finish) and step.state is RolloutState.STOPPED) == stops


def test_the_reason_for_a_stop():
    step = next_step(progress(2, rules=LIMITED, failed=51, succeeded=949))
    assert step == Finish(RolloutState.STOPPED, "51 of 1000 results are FAIL, more than 5%")


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ({"succeeded": 9, "failed": 1}, "1 of 10 devices failed, and 95% must succeed before stage 2"),
        ({"succeeded": 4, "fetched": 4, "failed": 1, "skipped": 1}, "1 of 9 devices failed, and 95% must succeed"),
        ({"succeeded": 9, "fetched": 1}, None),
        ({"succeeded": 9, "superseded": 1}, None),
    ],
)
def test_a_gate_that_can_no_longer_be_met_stops(devices, reason):
    rules = RolloutRules((Stage(TENTH, Fraction(95, 100)), Stage(Fraction(1))), TENTH, 10)
    step = next_step(progress(rules=rules, waiting=90, **devices))
    assert (isinstance(step, Finish) and step.reason.startswith(reason)) if reason else not isinstance(step, Finish)


def test_zero_per_cent_stops_at_the_first():
    rules = RolloutRules(stop_at=Fraction(0), stop_min=1)
    assert isinstance(next_step(progress(rules=rules, failed=1, succeeded=500, given=499)), Finish)


def test_paused_assigns_nothing_takes_back_and_still_stops():
    assert next_step(progress(state=RolloutState.PAUSED, waiting=990, given=10)) == TakeBack()
    assert next_step(progress(state=RolloutState.PAUSED, waiting=1000)) is None
    assert isinstance(next_step(progress(state=RolloutState.PAUSED, rules=LIMITED, waiting=990, failed=10)), Finish)


@pytest.mark.parametrize("state", [RolloutState.STOPPED, RolloutState.ABORTED])
def test_a_stopped_or_aborted_rollout_withdraws_what_nobody_fetched(state):
    assert next_step(progress(state=state, waiting=900, given=50, fetched=50)) == TakeBack()
    assert next_step(progress(state=state, waiting=900, withdrawn=50, fetched=50)) is None


@pytest.mark.parametrize("shares", [(), (50,), (50, 50, 100), (100, 50), (0, 100), (50, 110)])
def test_stages_that_are_not_possible(shares):
    with pytest.raises(ValueError, match="stages grow"):
        RolloutRules(tuple(Stage(Fraction(share, 100)) for share in shares))


def test_the_order_never_changes():
    """A deployment of one name reaches the devices in one order, in every version and on every machine."""
    assert rollout_order("kws-1", [f"d{number}" for number in range(6)]) == ["d2", "d5", "d1", "d3", "d0", "d4"]


@given(NAMES, NAMES)
def test_an_order_has_all_devices_and_depends_on_the_names_alone(devices, names):
    assert sorted(rollout_order("n", devices)) == sorted(devices)
    assert rollout_order("n", reversed(devices)) == rollout_order("n", devices)
    ranked = rollout_order("n", set(devices) | set(names))
    assert [each for each in ranked if each in set(devices)] == rollout_order("n", devices)


@given(NAMES, st.fractions(Fraction(1, 1000), 1), st.fractions(Fraction(1, 1000), 1))
def test_a_larger_share_contains_the_smaller(devices, one, other):
    ids = {device: number for number, device in enumerate(devices)}
    small, large = (select_share("n", ids, share) for share in sorted((one, other)))
    assert large[: len(small)] == small
    assert len(small) == ceil(min(one, other) * len(devices)) >= 1


STAGES = st.lists(st.integers(1, 99), max_size=4, unique=True).map(
    lambda shares: tuple(Stage(Fraction(share, 100), Fraction(1, 2), 5) for share in [*sorted(shares), 100])
)
RULES = st.builds(RolloutRules, STAGES, st.none() | st.fractions(0, 1), st.integers(1, 20))
VERDICTS = st.lists(st.sampled_from([RolloutDeviceState.SUCCEEDED, RolloutDeviceState.FAILED]), min_size=1, max_size=60)


def counted(states: Mapping[int, RolloutDeviceState]) -> dict[RolloutDeviceState, int]:
    return {each: list(states.values()).count(each) for each in RolloutDeviceState}


@given(RULES, VERDICTS)
def test_any_rollout_ends_and_never_goes_beyond_its_stage_or_its_limit(rules, verdicts):
    """Every device reports a result of what it is assigned; after each one the rollout takes all steps that are due."""
    states = dict.fromkeys(range(len(verdicts)), RolloutDeviceState.WAITING)
    now = Progress(rules, RolloutState.RUNNING, 0, 0.0, 0.0, counted(states))
    assigned_after_the_limit = False
    for _ in range(20 * len(verdicts) + 100):
        step = next_step(replace(now, devices=counted(states)))
        match step:
            case AssignNext(count):
                waiting = [each for each, state in states.items() if state is RolloutDeviceState.WAITING]
                states |= dict.fromkeys(waiting[:count], RolloutDeviceState.FETCHED)
                limit = rules.stop_at
                failed = counted(states)[RolloutDeviceState.FAILED]
                results = failed + counted(states)[RolloutDeviceState.SUCCEEDED]
                assigned_after_the_limit |= limit is not None and results >= rules.stop_min and failed > limit * results
            case StartStage(stage):
                assert stage == now.stage + 1
                now = replace(now, stage=stage, lasted=0.0)
            case Finish(state):
                now = replace(now, state=state)
            case None:
                fetched = [each for each, state in states.items() if state is RolloutDeviceState.FETCHED]
                states |= {each: verdicts[each] for each in fetched[:1]}
                now = replace(now, lasted=now.lasted + 1.0)
        reached = len(states) - counted(states)[RolloutDeviceState.WAITING]
        assert reached <= now.stage_size(now.stage)
    assert not assigned_after_the_limit
    assert now.state in (RolloutState.COMPLETED, RolloutState.STOPPED)
    if now.state is RolloutState.COMPLETED:
        assert all(states[each] is verdict for each, verdict in enumerate(verdicts))
