"""The rules of a rollout in sentences."""

from fractions import Fraction

import pytest

from gateway.manager.console.rollout_words import duration_words, rule_sentences, stage_sentences
from gateway.manager.reports import rollout_report
from gateway.manager.rollouts import Rollout, RolloutDeviceState, RolloutRules, RolloutState, rules_text
from gateway.manager.rollouts.decisions import Progress


def report_of(rules: RolloutRules, devices: int):
    progress = Progress(rules, RolloutState.RUNNING, 0, 0.0, 0.0, {RolloutDeviceState.WAITING: devices})
    return rollout_report(Rollout(0, "barn", "kws-1", "", (), 0.0, None, None, "", progress))


def typed(stages, min_success="90%", wait="0s", **others):
    return rules_text.parse_rollout_options(stages, min_success, wait, others.pop("stop_at", None), 10, **others)


@pytest.mark.parametrize(
    ("seconds", "words"), [(90, "90 s"), (600, "10 min"), (5400, "90 min"), (7200, "2 h"), (86_400, "1 d"), (0, "0 s")]
)
def test_durations(seconds, words):
    assert duration_words(seconds) == words


def test_one_stage():
    assert stage_sentences(report_of(typed("100%"), 1)) == ["1 device: all at once."]
    assert rule_sentences(report_of(typed("100%"), 1)) == ["It stops by itself for no number of failures."]


def test_several_stages():
    assert stage_sentences(report_of(typed("1%,10%,100%", "90%,0%", "0s,1h"), 2000)) == [
        "20 devices (1%) at once.",
        "180 more, 200 in all (10%), once 90% of stage 1 succeeded.",
        "1,800 more, 2,000 in all (100%), once stage 2 lasted 1 h.",
    ]
    [_, last] = stage_sentences(report_of(typed("10%,100%", "50%", "1d"), 10))
    assert last == "9 more, 10 in all (100%), once 50% of stage 1 succeeded and stage 1 lasted 1 d."
    [_, last] = stage_sentences(report_of(typed("10%,100%", "0%"), 10))
    assert last == "9 more, 10 in all (100%), once stage 1 has begun."


def test_when_it_stops_and_what_becomes_of_silent_devices():
    rules = typed("10%,100%", stop_at="5%", silent_after="24h", max_silent="20%")
    assert rules.stop_at == Fraction(1, 20)
    assert rule_sentences(report_of(rules, 10)) == [
        "It stops by itself where more than 5% of the results are FAIL, of 10 results at least.",
        "A device that is silent for 1 d counts as not reached; a stage may be without 20% of its devices so.",
    ]
