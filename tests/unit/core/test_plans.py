"""Plans: `have` compared where it may be, `get` always by the service, and a plan that is too large."""

import pytest

from gateway.core.device_state import REPUBLISH_AFTER
from gateway.core.effects import Effect, PublishAck, PublishPlan
from gateway.core.engine import Policy
from gateway.core.plans import REFUSED_FOR, SUSPECTED_FOR
from gateway.protocol.messages import Get, Heartbeat, Hello
from gateway.protocol.service_calls import Abandoned, Accepted, Cancelled, GetDeployments, Rejected
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    EngineHarness,
    acknowledged,
    calls,
    codes,
    of_type,
    plan,
    type_names,
)

ASK_FOR_HAVE = GetDeployments(DEVICE, retryable=False)
ASK_FOR_GET = GetDeployments(DEVICE, retryable=True)
TTL = 30.0


@pytest.fixture
def harness() -> EngineHarness:
    """Registration is not asked for, the hello of DEVICE is known, answers are kept for TTL seconds."""
    harness = EngineHarness(Policy(ask_registration=False, plan_ttl=TTL))
    harness.restore_hello()
    return harness


def have(harness: EngineHarness, digest: int | None, seq: int | None = None) -> list[Effect]:
    """A heartbeat with `have` is accepted: what follows."""
    harness.receive(Heartbeat(HELLO.tag, 1, have=digest, seq=seq))
    return harness.resolve(ACCEPTED)


def published(effects: list[Effect]) -> list[tuple[int, bytes]]:
    return [(effect.digest, effect.payload) for effect in of_type(effects, PublishPlan)]


def confirmed(harness: EngineHarness, effects: list[Effect]) -> list[Effect]:
    """The broker has the plan of `effects`: what follows."""
    [publication] = of_type(effects, PublishPlan)
    return harness.engine.plan_published(publication, harness.now)


# have


def test_a_have_calls_the_service_after_the_heartbeat_was_acknowledged(harness: EngineHarness) -> None:
    effects = have(harness, 0, seq=5)
    assert type_names(effects) == ["PublishAck", "Acknowledge", "CallService"]
    assert calls(effects) == [ASK_FOR_HAVE]
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, b"u" * 100)]


def test_without_have_there_is_no_call(harness: EngineHarness) -> None:
    assert calls(have(harness, None)) == []


def test_an_equal_plan_costs_no_message(harness: EngineHarness) -> None:
    have(harness, 8)
    assert harness.resolve(Accepted(plan(8))) == []


def test_an_equal_have_is_compared_with_the_kept_answer_for_its_time(harness: EngineHarness) -> None:
    have(harness, 8)
    harness.resolve(Accepted(plan(8)))
    harness.wait(TTL - 0.1)
    assert calls(have(harness, 8)) == []
    harness.wait(0.1)
    assert calls(have(harness, 8)) == [ASK_FOR_HAVE]


def test_a_plan_is_never_published_from_a_kept_answer(harness: EngineHarness) -> None:
    have(harness, 8)
    harness.resolve(Accepted(plan(8)))
    assert calls(have(harness, 7)) == [ASK_FOR_HAVE]
    assert published(harness.resolve(Accepted(plan(9)))) == [(9, b"u" * 100)]


def test_the_same_digest_is_published_once_a_minute(harness: EngineHarness) -> None:
    have(harness, 0)
    assert len(published(harness.resolve(Accepted(plan(8))))) == 1
    for _ in range(5):
        harness.wait(11.9)
        if calls(have(harness, 0)):
            assert published(harness.resolve(Accepted(plan(8)))) == []
    harness.wait(0.5)
    assert calls(have(harness, 0)) == [ASK_FOR_HAVE]
    assert len(published(harness.resolve(Accepted(plan(8))))) == 1


def test_another_digest_is_published_at_once(harness: EngineHarness) -> None:
    have(harness, 0)
    harness.resolve(Accepted(plan(8)))
    harness.wait(TTL)
    have(harness, 8)
    assert published(harness.resolve(Accepted(plan(9)))) == [(9, b"u" * 100)]


@pytest.mark.parametrize("outcome", [Cancelled("timeout"), Rejected("no"), Abandoned("no")])
def test_a_have_that_cannot_be_compared_fails_and_delays_nothing(harness: EngineHarness, outcome: Cancelled) -> None:
    have(harness, 0, seq=1)
    harness.receive(Heartbeat(HELLO.tag, 2, have=0, seq=2))
    effects = harness.resolve(outcome)
    assert (codes(effects), acknowledged(effects)) == ([], [])
    assert len(calls(effects)) == 1
    effects = harness.resolve(ACCEPTED)
    assert (codes(effects), acknowledged(effects)) == ([(2, 0)], [2])
    assert calls(effects) == []
    harness.wait(TTL)
    assert calls(have(harness, 0)) == [ASK_FOR_HAVE]


def test_merged_heartbeats_are_compared_by_the_last_have(harness: EngineHarness) -> None:
    harness.receive(Heartbeat(HELLO.tag, 1))
    harness.receive(Heartbeat(HELLO.tag, 2, have=7))
    harness.receive(Heartbeat(HELLO.tag, 3, have=8))
    harness.resolve(ACCEPTED)
    assert calls(harness.resolve(ACCEPTED)) == [ASK_FOR_HAVE]
    assert published(harness.resolve(Accepted(plan(8)))) == []


# get


@pytest.mark.parametrize("seq", [None, 5])
def test_a_get_is_answered_once_the_broker_has_its_plan(harness: EngineHarness, seq: int | None) -> None:
    assert calls(harness.receive(Get(0, seq))) == [ASK_FOR_GET]
    effects = harness.resolve(Accepted(plan(8)))
    assert type_names(effects) == ["PublishPlan"]
    effects = confirmed(harness, effects)
    assert type_names(effects) == [*(["PublishAck"] if seq else []), "Acknowledge"]
    assert codes(effects) == ([(5, 0)] if seq else [])


def test_a_get_that_has_the_plan_is_only_acked(harness: EngineHarness) -> None:
    harness.receive(Get(8, 5))
    effects = harness.resolve(Accepted(plan(8)))
    assert (type_names(effects), codes(effects)) == (["PublishAck", "Acknowledge"], [(5, 0)])


def test_a_get_without_have_is_answered_whatever_was_published(harness: EngineHarness) -> None:
    harness.receive(Get(None, 5))
    assert len(published(harness.resolve(Accepted(plan(8))))) == 1


def test_a_get_always_calls_and_publishes_however_lately(harness: EngineHarness) -> None:
    for _ in range(3):
        assert calls(harness.receive(Get(0))) == [ASK_FOR_GET]
        assert len(published(harness.resolve(Accepted(plan(8))))) == 1


def test_gets_that_wait_share_one_answer_and_one_publication(harness: EngineHarness) -> None:
    harness.receive(Heartbeat(HELLO.tag, 1))
    for number in (2, 3, 4):
        harness.receive(Get(0, number))
    assert calls(harness.resolve(ACCEPTED)) == [ASK_FOR_GET]
    effects = confirmed(harness, harness.resolve(Accepted(plan(8))))
    assert (codes(effects), acknowledged(effects)) == ([(2, 0), (3, 0), (4, 0)], [2, 3, 4])


def test_a_get_that_comes_during_a_call_has_an_answer_of_its_own(harness: EngineHarness) -> None:
    harness.receive(Get(0, 1))
    assert harness.receive(Get(0, 2)) == []
    effects = harness.resolve(Accepted(plan(8)))
    assert (acknowledged(confirmed(harness, effects)), calls(effects)) == ([1], [ASK_FOR_GET])
    assert acknowledged(confirmed(harness, harness.resolve(Accepted(plan(9))))) == [2]


def test_the_answer_of_a_get_is_used_for_a_have(harness: EngineHarness) -> None:
    harness.receive(Get(0))
    harness.resolve(Accepted(plan(8)))
    assert calls(have(harness, 8)) == []


@pytest.mark.parametrize(("outcome", "code"), [(Rejected("no"), 4), (Abandoned("no"), 7)])
def test_a_get_that_fails_gets_an_error(harness: EngineHarness, outcome: Rejected | Abandoned, code: int) -> None:
    harness.receive(Get(0, 5))
    effects = harness.resolve(outcome)
    assert (type_names(effects), codes(effects)) == (["PublishAck", "DeadLetter", "Acknowledge"], [(5, code)])


# max_payload and flags


def limited(max_payload: int | None, flags: int = 0) -> Hello:
    return Hello(HELLO.tag, LAYOUT, EPOCH, max_payload, flags)


@pytest.mark.parametrize(
    ("hello", "payload"),
    [
        (limited(None), b"u" * 100),
        (limited(100), b"u" * 100),
        (limited(None, 1), b"b" * 50),
        (limited(50, 1), b"b" * 50),
    ],
)
def test_the_flags_of_the_hello_choose_the_payload(hello: Hello, payload: bytes) -> None:
    harness = EngineHarness()
    harness.restore_hello(hello)
    harness.receive(Get(0))
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, payload)]


@pytest.mark.parametrize("hello", [limited(99), limited(49, 1), limited(0)])
def test_a_get_whose_plan_does_not_fit_gets_code_6(hello: Hello) -> None:
    harness = EngineHarness()
    harness.restore_hello(hello)
    harness.receive(Get(0, 5))
    effects = harness.resolve(Accepted(plan(8)))
    assert (codes(effects), published(effects), acknowledged(effects)) == ([(5, 6)], [], [1])


def test_a_have_whose_plan_does_not_fit_gets_its_0_and_code_6_once_for_each_digest() -> None:
    harness = EngineHarness(Policy(ask_registration=False, plan_ttl=TTL))
    harness.restore_hello(limited(99))
    errors = []
    for digest in (8, 8, 8, 9, 9):
        effects = have(harness, 0, seq=1)
        assert codes(effects) == [(1, 0)]
        if calls(effects):
            errors += codes(harness.resolve(Accepted(plan(digest))))
        harness.wait(TTL)
    assert errors == [(None, 6), (None, 6)]


def test_code_6_says_what_did_not_fit() -> None:
    harness = EngineHarness()
    harness.restore_hello(limited(99))
    have(harness, 0)
    [reply] = of_type(harness.resolve(Accepted(plan(8))), PublishAck)
    assert (reply.ack.detail, reply.max_payload) == ("plan 8 does not fit max_payload 99", 99)


def test_a_plan_that_fits_a_newer_hello_is_published() -> None:
    harness = EngineHarness(Policy(ask_registration=False, plan_ttl=TTL))
    harness.restore_hello(limited(99))
    have(harness, 0)
    harness.resolve(Accepted(plan(8)))
    harness.receive(limited(200))
    harness.wait(TTL)
    have(harness, 0)
    assert len(published(harness.resolve(Accepted(plan(8))))) == 1


# Before the hello is known


def test_a_get_waits_for_the_hello_that_could_limit_its_plan() -> None:
    harness = EngineHarness()
    assert type_names(harness.receive(Get(0, 5))) == ["FetchRetainedHello"]
    harness.suback()
    effects = harness.receive(limited(None, 1))
    assert calls(effects) == [ASK_FOR_GET]
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, b"b" * 50)]


def test_a_get_of_a_device_without_hello_waits_half_a_second() -> None:
    harness = EngineHarness()
    harness.receive(Get(0, 5))
    harness.suback()
    harness.wait(0.5)
    assert calls(harness.engine.tick(harness.now)) == [ASK_FOR_GET]
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, b"u" * 100)]


def test_the_have_of_a_device_without_hello_delays_no_heartbeat() -> None:
    harness = EngineHarness()
    harness.receive(Heartbeat(LAYOUT, have=0))
    assert type_names(harness.resolve(ACCEPTED)) == ["Acknowledge", "FetchRetainedHello"]
    harness.receive(Heartbeat(LAYOUT, have=0))
    assert acknowledged(harness.resolve(ACCEPTED)) == [2]
    harness.suback()
    harness.wait(0.5)
    assert calls(harness.engine.tick(harness.now)) == [ASK_FOR_HAVE]


# what the broker does not take

ROOM = len(f"{DEVICE.fleet}/{DEVICE.name}/plan") + 100


def test_a_plan_that_just_fits_the_brokers_packets_is_published(harness: EngineHarness) -> None:
    harness.engine.set_room(ROOM)
    harness.receive(Get(0, seq=5))
    effects = harness.resolve(Accepted(plan(8, 100)))
    assert (published(effects), codes(confirmed(harness, effects))) == ([(8, b"u" * 100)], [(5, 0)])


def test_a_get_whose_plan_does_not_fit_the_brokers_packets_gets_code_6(harness: EngineHarness) -> None:
    harness.engine.set_room(ROOM)
    harness.receive(Get(0, seq=5))
    effects = harness.resolve(Accepted(plan(8, 101)))
    assert (published(effects), codes(effects)) == ([], [(5, 6)])
    assert of_type(effects, PublishAck)[0].ack.detail == "plan 8 of 101 bytes does not fit the broker's largest packet"


def test_a_have_whose_plan_does_not_fit_the_brokers_packets_gets_code_6_once(harness: EngineHarness) -> None:
    harness.engine.set_room(ROOM)
    have(harness, 0)
    assert codes(harness.resolve(Accepted(plan(8, 101)))) == [(None, 6)]
    harness.wait(TTL)
    have(harness, 0)
    assert harness.resolve(Accepted(plan(8, 101))) == []
    harness.engine.set_room(ROOM + 1)
    harness.wait(TTL)
    have(harness, 0)
    assert published(harness.resolve(Accepted(plan(8, 101)))) == [(8, b"u" * 101)]


def refused(harness: EngineHarness, rest: float) -> list[Effect]:
    """The plan of a `have` is published, and the broker does not take it: what follows."""
    have(harness, 0)
    [publication] = of_type(harness.resolve(Accepted(plan(8))), PublishPlan)
    return harness.engine.plan_refused(publication, "not allowed", rest, harness.now)


@pytest.mark.parametrize("rest", [0, REFUSED_FOR])
def test_a_plan_that_the_broker_refuses_is_code_6_once(harness: EngineHarness, rest: float) -> None:
    effects = refused(harness, rest)
    assert codes(effects) == [(None, 6)]
    assert of_type(effects, PublishAck)[0].ack.detail == "plan 8: not allowed"
    again = PublishPlan(DEVICE, 8, b"", of_type(effects, PublishAck)[0].delivery)
    assert harness.engine.plan_refused(again, "not allowed", rest, harness.now) == []


@pytest.mark.parametrize("rest", [0, 300])
def test_gets_whose_plan_the_broker_refuses_get_code_6_and_no_0(harness: EngineHarness, rest: float) -> None:
    harness.receive(Heartbeat(HELLO.tag, 1))
    for have, seq in ((0, 5), (8, 6), (None, 7)):
        harness.receive(Get(have, seq))
    harness.resolve(ACCEPTED)
    effects = harness.resolve(Accepted(plan(8)))
    assert type_names(effects) == ["PublishPlan"]
    [publication] = of_type(effects, PublishPlan)
    effects = harness.engine.plan_refused(publication, "not allowed", rest, harness.now)
    assert (codes(effects), acknowledged(effects)) == ([(5, 6), (6, 0), (7, 6)], [2, 3, 4]), "the second has it"


def test_a_plan_that_a_puback_refused_is_published_again_after_a_minute(harness: EngineHarness) -> None:
    refused(harness, 0)
    harness.wait(REPUBLISH_AFTER)
    have(harness, 0)
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, b"u" * 100)]


@pytest.mark.parametrize("rest", [SUSPECTED_FOR, REFUSED_FOR])
def test_a_plan_that_ended_each_connection_rests(harness: EngineHarness, rest: float) -> None:
    refused(harness, rest)
    harness.wait(rest - 1)
    have(harness, 0)
    assert harness.resolve(Accepted(plan(8))) == []
    harness.receive(Get(0, seq=5))
    effects = harness.resolve(Accepted(plan(8)))
    assert (published(effects), codes(effects)) == ([], [(5, 6)])
    harness.wait(1)
    harness.receive(Get(0))
    assert published(harness.resolve(Accepted(plan(8)))) == [(8, b"u" * 100)]


def test_another_plan_is_published_at_once(harness: EngineHarness) -> None:
    refused(harness, REFUSED_FOR)
    harness.wait(TTL)
    have(harness, 0)
    assert published(harness.resolve(Accepted(plan(9)))) == [(9, b"u" * 100)]


def test_after_the_stop_no_plan_is_answered(harness: EngineHarness) -> None:
    harness.receive(Get(0, 5))
    effects = harness.resolve(Accepted(plan(8)))
    harness.engine.stop()
    assert confirmed(harness, effects) == []
    [publication] = of_type(effects, PublishPlan)
    assert harness.engine.plan_refused(publication, "not allowed", 0, harness.now) == []
