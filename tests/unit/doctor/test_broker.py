"""Judgements on how a broker behaved."""

from dataclasses import replace

import pytest

from gateway.config import Settings
from gateway.doctor import judge_broker
from gateway.doctor.facts import Announced, Clients, Echo, Fault, Manners, Session, Shared
from gateway.doctor.verdict import Level, Verdict

GOOD = Manners(
    topic="edge/doctor/1",
    echo=Echo.HEARD,
    session=Session(present=True, kept=True),
    window=3,
    retained=True,
    shared=Shared(1, True),
    version="",
)
DEAF = replace(GOOD, echo=Echo.REFUSED, session=Session(True, None), window=None, retained=None, shared=Shared(1, None))
"""As the broker is found where its ACL closes the doctor's topic."""
PLAIN = Announced()
BROKEN = Fault("the connection broke")


def judged(found: Manners, announced: Announced = PLAIN, mosquitto: bool = False, group: str | None = None) -> dict:
    settings = Settings(group=group, session_expiry=3600)
    return {each.check: each for each in judge_broker.manners(found, announced, settings, mosquitto)}


def levels(verdicts: dict[str, Verdict]) -> dict[str, Level]:
    """Those that do not pass."""
    return {check: each.level for check, each in verdicts.items() if each.level is not Level.PASS}


def test_a_good_broker_passes_each() -> None:
    found = judged(GOOD)
    assert levels(found) == {}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("found", "check", "level"),
    [
        (replace(GOOD, session=Session(False, None)), "session", Level.FAIL),
        (replace(GOOD, session=Session(True, False)), "session", Level.FAIL),
        (replace(GOOD, session=BROKEN), "session", Level.FAIL),
        (replace(GOOD, window=4), "Receive Maximum", Level.WARN),
        (replace(GOOD, window=1), "Receive Maximum", Level.WARN),
        (replace(GOOD, window=BROKEN), "Receive Maximum", Level.WARN),
        (replace(GOOD, retained=False), "retained messages", Level.FAIL),
        (replace(GOOD, retained=BROKEN), "retained messages", Level.FAIL),
    ],
    ids=range(8),
)
def test_each_fault_is_named_and_no_other(found: Manners, check: str, level: Level) -> None:
    assert levels(judged(found)) == {check: level}
    assert judged(found)[check].todo


@pytest.mark.parametrize(("found", "level"), [(False, Level.PASS), (True, Level.FAIL), (None, Level.WARN)])
def test_who_gives_no_name(found: bool | None, level: Level) -> None:
    assert judge_broker.nameless(found).level is level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (Clients(beside=True, replaced=True), Level.PASS),
        (Clients(beside=False, replaced=False), Level.FAIL),
        (Clients(beside=True, replaced=False), Level.FAIL),
        (BROKEN, Level.FAIL),
    ],
    ids=range(4),
)
def test_client_ids(found: Clients | Fault, level: Level) -> None:
    assert judge_broker.clients(found).level is level


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        (Announced(retain=False), {"retained messages": Level.FAIL}),
        (Announced(session_expiry=3599), {"session": Level.WARN}),
        (Announced(session_expiry=3600), {}),
        (Announced(shared=False), {}),
    ],
    ids=range(4),
)
def test_what_the_broker_announces_counts(announced: Announced, expected: dict[str, Level]) -> None:
    assert levels(judged(GOOD, announced)) == expected


@pytest.mark.parametrize("echo", [Echo.REFUSED, Echo.SILENT, BROKEN])
def test_a_topic_that_is_closed_to_the_doctor_is_told_with_the_line_that_opens_it(echo: Echo | Fault) -> None:
    found = judged(replace(DEAF, echo=echo))
    assert levels(found) == dict.fromkeys(("session", "Receive Maximum", "retained messages"), Level.WARN)
    for check in levels(found):
        assert "cannot be known" in found[check].found
        assert "`topic readwrite edge/doctor/+`" in found[check].todo


@pytest.mark.parametrize(
    ("shared", "announced", "mosquitto", "version", "level", "said"),
    [
        (Shared(1, True), Announced(), False, "", Level.WARN, "cannot know"),
        (Shared(1, True), Announced(), True, "", Level.WARN, "Mosquitto forgets"),
        (Shared(1, True), Announced(), False, "mosquitto version 2.0.11", Level.WARN, "Mosquitto forgets"),
        (Shared(1, None), Announced(), False, "", Level.WARN, "cannot know"),
        (Shared(1, False), Announced(), False, "", Level.FAIL, "nothing comes"),
        (Shared(0x9E, None), Announced(), False, "", Level.FAIL, "has none"),
        (Shared(1, True), Announced(shared=False), False, "", Level.FAIL, "has none"),
        (BROKEN, Announced(), False, "", Level.FAIL, "broke"),
    ],
    ids=range(8),
)
def test_shared_subscriptions_count_where_a_group_is_set(
    shared: Shared | Fault, announced: Announced, mosquitto: bool, version: str, level: Level, said: str
) -> None:
    found = replace(GOOD, shared=shared, version=version)
    verdict = judged(found, announced, mosquitto, group="g")["shared subscriptions"]
    assert verdict.level is level
    assert said in verdict.found
    assert judged(found, announced, mosquitto)["shared subscriptions"].level is Level.PASS
