"""The rules of a rollout in sentences."""

from fractions import Fraction

import pytest

from gateway.manager.console.rollout_words import (
    gate_sentences,
    possible_changes,
    rule_sentences,
    stage_sentences,
)
from gateway.manager.reports import rollout_report
from gateway.manager.rollouts import Rollout, RolloutDeviceState, RolloutRules, RolloutState, rules_text
from gateway.manager.rollouts.decisions import Progress


def report_of(rules: RolloutRules, devices: int):
    return report_with(rules, waiting=devices)


def report_with(rules, state=RolloutState.RUNNING, stage=0, lasted=0.0, silent=0, **devices):
    """`devices`: how many are in which state."""
    counted = {RolloutDeviceState[name.upper()]: number for name, number in devices.items()}
    progress = Progress(rules, state, stage, lasted, 0.0, counted, silent=silent)
    return rollout_report(Rollout(0, "barn", "kws-1", "", (), 0.0, None, None, "", progress))


def typed(stages, min_success="90%", wait="0s", **others):
    return rules_text.parse_rollout_options(stages, min_success, wait, others.pop("stop_at", None), 10, **others)


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


STAGED = typed("50%,100%", "80%", "1h", silent_after="1h", max_silent="20%")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"waiting": 10}, ["5 devices of stage 1 get it now."]),
        (
            {"waiting": 5, "succeeded": 1, "failed": 1, "fetched": 2, "assigned": 1, "lasted": 60.0},
            [
                "4 of 5 devices must succeed before stage 2 starts.",
                "1 succeeded, 1 failed, 3 pending.",
                "3 more must succeed.",
                "Stage 1 lasts 59 min more, at least.",
            ],
        ),
        (
            {"waiting": 5, "succeeded": 4, "fetched": 1, "lasted": 3540.0},
            [
                "4 of 5 devices must succeed before stage 2 starts.",
                "4 succeeded, 0 failed, 1 pending.",
                "Enough succeeded. Stage 1 lasts 60 s more, at least.",
            ],
        ),
        (
            {"waiting": 5, "succeeded": 4, "fetched": 1, "lasted": 3600.0, "silent": 1},
            [
                "4 of 4 devices must succeed before stage 2 starts.",
                "4 succeeded, 0 failed, 0 pending.",
                "Enough succeeded: stage 2 starts.",
                "Devices that are silent and count as not reached: 1; it does not wait for them.",
            ],
        ),
        (
            {"stage": 1, "succeeded": 6, "fetched": 4, "silent": 3},
            [
                "It ends once all have reported a result: 4 devices more.",
                "Devices that are silent and count as not reached: 3; "
                "more than 20% of the stage, so it waits for them.",
            ],
        ),
        ({"state": RolloutState.ABORTED, "succeeded": 6, "waiting": 4}, []),
    ],
)
def test_what_it_waits_for(facts, said):
    assert gate_sentences(report_with(STAGED, **facts)) == said


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (RolloutState.RUNNING, [("Pause", 0), ("Abort", 5), ("Undo", 5)]),
        (RolloutState.PAUSED, [("Resume", 5), ("Abort", 5), ("Undo", 5)]),
        (RolloutState.STOPPED, [("Undo", 5)]),
    ],
)
def test_what_can_be_done_and_with_how_many_devices(state, changes):
    found = possible_changes(report_with(STAGED, state, waiting=5, succeeded=3, failed=1, fetched=1))
    assert [(each.name, each.devices) for each in found] == changes
    assert possible_changes(report_with(STAGED, RolloutState.ABORTED, waiting=5)) == []
