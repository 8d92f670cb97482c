"""Checks of how a broker behaves."""

from dataclasses import replace

import pytest

from gateway.config import Settings
from gateway.doctor.checks.broker import (
    BrokerBehaviour,
    ClientIds,
    KeptSession,
    OwnTopic,
    SharedSubscription,
    check_anonymous,
    check_behaviour,
    check_client_ids,
    is_mosquitto_2_1,
)
from gateway.doctor.result import CheckResult, Level, ProbeFailure
from gateway.mqtt import BrokerLimits

GOOD = BrokerBehaviour(
    topic="edge/doctor/1",
    own_topic=OwnTopic.RECEIVED,
    session=KeptSession(present=True, messages=True),
    received=3,
    retained=True,
    shared=SharedSubscription(1, True),
    version="",
)
CLOSED = replace(
    GOOD,
    own_topic=OwnTopic.REFUSED,
    session=KeptSession(True, None),
    received=None,
    retained=None,
    shared=SharedSubscription(1, None),
)
"""Where the ACL closes the doctor's topic."""
DEFAULTS = BrokerLimits()
BROKEN = ProbeFailure("the connection broke")


def results_of(
    found: BrokerBehaviour, connack: BrokerLimits = DEFAULTS, mosquitto: bool = False, group: str | None = None
) -> dict:
    settings = Settings(group=group, session_expiry=3600)  # type: ignore[arg-type]
    return {each.check: each for each in check_behaviour(found, connack, settings, mosquitto)}


def levels(results: dict[str, CheckResult]) -> dict[str, Level]:
    """Those that do not pass."""
    return {check: each.level for check, each in results.items() if each.level is not Level.PASS}


def test_a_good_broker_passes_each() -> None:
    found = results_of(GOOD)
    assert levels(found) == {}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("found", "check", "level"),
    [
        (replace(GOOD, session=KeptSession(False, None)), "session", Level.FAIL),
        (replace(GOOD, session=KeptSession(True, False)), "session", Level.FAIL),
        (replace(GOOD, session=BROKEN), "session", Level.FAIL),
        (replace(GOOD, received=4), "Receive Maximum", Level.WARN),
        (replace(GOOD, received=1), "Receive Maximum", Level.WARN),
        (replace(GOOD, received=BROKEN), "Receive Maximum", Level.WARN),
        (replace(GOOD, retained=False), "retained messages", Level.FAIL),
        (replace(GOOD, retained=BROKEN), "retained messages", Level.FAIL),
    ],
    ids=range(8),
)
def test_each_problem_is_reported_and_no_other(found: BrokerBehaviour, check: str, level: Level) -> None:
    assert levels(results_of(found)) == {check: level}
    assert results_of(found)[check].todo


@pytest.mark.parametrize(("found", "level"), [(False, Level.PASS), (True, Level.FAIL), (None, Level.WARN)])
def test_anonymous_clients(found: bool | None, level: Level) -> None:
    assert check_anonymous(found).level is level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (ClientIds(distinct=True, taken_over=True), Level.PASS),
        (ClientIds(distinct=False, taken_over=False), Level.FAIL),
        (ClientIds(distinct=True, taken_over=False), Level.FAIL),
        (BROKEN, Level.FAIL),
    ],
    ids=range(4),
)
def test_client_ids(found: ClientIds | ProbeFailure, level: Level) -> None:
    assert check_client_ids(found).level is level


@pytest.mark.parametrize(
    ("connack", "expected"),
    [
        (BrokerLimits(retain=False), {"retained messages": Level.FAIL}),
        (BrokerLimits(session_expiry=3599), {"session": Level.WARN}),
        (BrokerLimits(session_expiry=3600), {}),
        (BrokerLimits(shared=False), {}),
    ],
    ids=range(4),
)
def test_what_connack_announces_counts(connack: BrokerLimits, expected: dict[str, Level]) -> None:
    assert levels(results_of(GOOD, connack)) == expected


@pytest.mark.parametrize("own_topic", [OwnTopic.REFUSED, OwnTopic.SILENT, BROKEN])
def test_a_closed_topic_of_the_doctor_is_a_warning_with_the_line_that_opens_it(
    own_topic: OwnTopic | ProbeFailure,
) -> None:
    found = results_of(replace(CLOSED, own_topic=own_topic))
    assert levels(found) == dict.fromkeys(("session", "Receive Maximum", "retained messages"), Level.WARN)
    for check in levels(found):
        assert "cannot be known" in found[check].found
        assert "`topic readwrite edge/doctor/+`" in found[check].todo


@pytest.mark.parametrize(
    ("shared", "connack", "mosquitto", "version", "level", "expected"),
    [
        (SharedSubscription(1, True), BrokerLimits(), False, "", Level.WARN, "cannot know"),
        (SharedSubscription(1, True), BrokerLimits(), True, "", Level.WARN, "Mosquitto forgets"),
        (
            SharedSubscription(1, True),
            BrokerLimits(),
            False,
            "mosquitto version 2.0.11",
            Level.WARN,
            "Mosquitto forgets",
        ),
        (SharedSubscription(1, None), BrokerLimits(), False, "", Level.WARN, "cannot know"),
        (SharedSubscription(1, False), BrokerLimits(), False, "", Level.FAIL, "nothing comes"),
        (SharedSubscription(0x9E, None), BrokerLimits(), False, "", Level.FAIL, "has none"),
        (SharedSubscription(1, True), BrokerLimits(shared=False), False, "", Level.FAIL, "has none"),
        (BROKEN, BrokerLimits(), False, "", Level.FAIL, "broke"),
    ],
    ids=range(8),
)
def test_shared_subscriptions_count_where_a_group_is_set(
    shared: SharedSubscription | ProbeFailure,
    connack: BrokerLimits,
    mosquitto: bool,
    version: str,
    level: Level,
    expected: str,
) -> None:
    found = replace(GOOD, shared=shared, version=version)
    result = results_of(found, connack, mosquitto, group="a-group-of-the-tests-0123456789")["shared subscriptions"]
    assert result.level is level
    assert expected in result.found
    assert results_of(found, connack, mosquitto)["shared subscriptions"].level is Level.PASS


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("mosquitto version 2.0.11", False),
        ("mosquitto version 2.1.2", True),
        ("mosquitto version 2.10.0", True),
        ("mosquitto version 3.0", True),
        ("another broker 2.1", None),
        ("", None),
    ],
)
def test_versions(version: str, expected: bool | None) -> None:
    assert is_mosquitto_2_1(version) is expected
