"""Plans: `have` compared where it may be, `get` always by the service, and a plan that is too large."""

import pytest

from gateway.core.effects import Effect, PublishAck, PublishPlan
from gateway.core.engine import Policy
from gateway.protocol.messages import Get, Heartbeat, Hello
from gateway.protocol.service_calls import Abandoned, Accepted, Cancelled, GetDeployments, Rejected
from tests.support.engine import (
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    TAKEN,
    Room,
    calls,
    codes,
    kinds,
    only,
    plan,
    settled,
)

ASK_FOR_HAVE = GetDeployments(DEVICE, patient=False)
ASK_FOR_GET = GetDeployments(DEVICE, patient=True)
TTL = 30.0


@pytest.fixture
def room() -> Room:
    """Registration is not asked for, the hello of DEVICE is known, answers are kept for TTL seconds."""
    room = Room(Policy(ask_registration=False, plan_ttl=TTL))
    room.know()
    return room


def have(room: Room, digest: int | None, seq: int | None = None) -> list[Effect]:
    """A heartbeat with `have` is accepted: what follows."""
    room.hear(Heartbeat(HELLO.tag, 1, have=digest, seq=seq))
    return room.answer(TAKEN)


def published(effects: list[Effect]) -> list[tuple[int, bytes]]:
    return [(effect.digest, effect.payload) for effect in only(effects, PublishPlan)]


# have


def test_a_have_asks_the_service_after_the_heartbeat_was_settled(room: Room) -> None:
    effects = have(room, 0, seq=5)
    assert kinds(effects) == ["PublishAck", "Acknowledge", "CallService"]
    assert calls(effects) == [ASK_FOR_HAVE]
    assert published(room.answer(Accepted(plan(8)))) == [(8, b"u" * 100)]


def test_no_have_asks_nothing(room: Room) -> None:
    assert calls(have(room, None)) == []


def test_an_equal_plan_costs_no_message(room: Room) -> None:
    have(room, 8)
    assert room.answer(Accepted(plan(8))) == []


def test_an_equal_have_is_compared_with_the_kept_answer_for_its_time(room: Room) -> None:
    have(room, 8)
    room.answer(Accepted(plan(8)))
    room.wait(TTL - 0.1)
    assert calls(have(room, 8)) == []
    room.wait(0.1)
    assert calls(have(room, 8)) == [ASK_FOR_HAVE]


def test_a_plan_is_never_published_from_a_kept_answer(room: Room) -> None:
    have(room, 8)
    room.answer(Accepted(plan(8)))
    assert calls(have(room, 7)) == [ASK_FOR_HAVE]
    assert published(room.answer(Accepted(plan(9)))) == [(9, b"u" * 100)]


def test_the_same_digest_goes_out_once_a_minute(room: Room) -> None:
    have(room, 0)
    assert len(published(room.answer(Accepted(plan(8))))) == 1
    for _ in range(5):
        room.wait(11.9)
        if calls(have(room, 0)):
            assert published(room.answer(Accepted(plan(8)))) == []
    room.wait(0.5)
    assert calls(have(room, 0)) == [ASK_FOR_HAVE]
    assert len(published(room.answer(Accepted(plan(8))))) == 1


def test_another_digest_goes_out_at_once(room: Room) -> None:
    have(room, 0)
    room.answer(Accepted(plan(8)))
    room.wait(TTL)
    have(room, 8)
    assert published(room.answer(Accepted(plan(9)))) == [(9, b"u" * 100)]


@pytest.mark.parametrize("outcome", [Cancelled("timeout"), Rejected("no"), Abandoned("no")])
def test_a_have_that_cannot_be_compared_fails_and_holds_nothing(room: Room, outcome: Cancelled) -> None:
    have(room, 0, seq=1)
    room.hear(Heartbeat(HELLO.tag, 2, have=0, seq=2))
    effects = room.answer(outcome)
    assert (codes(effects), settled(effects)) == ([], [])
    assert len(calls(effects)) == 1
    effects = room.answer(TAKEN)
    assert (codes(effects), settled(effects)) == ([(2, 0)], [2])
    assert calls(effects) == []
    room.wait(TTL)
    assert calls(have(room, 0)) == [ASK_FOR_HAVE]


def test_merged_heartbeats_are_compared_by_the_last_have(room: Room) -> None:
    room.hear(Heartbeat(HELLO.tag, 1))
    room.hear(Heartbeat(HELLO.tag, 2, have=7))
    room.hear(Heartbeat(HELLO.tag, 3, have=8))
    room.answer(TAKEN)
    assert calls(room.answer(TAKEN)) == [ASK_FOR_HAVE]
    assert published(room.answer(Accepted(plan(8)))) == []


# get


@pytest.mark.parametrize("seq", [None, 5])
def test_a_get_is_settled_after_its_plan_was_published(room: Room, seq: int | None) -> None:
    assert calls(room.hear(Get(0, seq))) == [ASK_FOR_GET]
    effects = room.answer(Accepted(plan(8)))
    assert kinds(effects) == ["PublishPlan", *(["PublishAck"] if seq else []), "Acknowledge"]
    assert codes(effects) == ([(5, 0)] if seq else [])


def test_a_get_that_has_the_plan_is_only_acked(room: Room) -> None:
    room.hear(Get(8, 5))
    effects = room.answer(Accepted(plan(8)))
    assert (kinds(effects), codes(effects)) == (["PublishAck", "Acknowledge"], [(5, 0)])


def test_a_get_without_have_is_answered_whatever_the_device_holds(room: Room) -> None:
    room.hear(Get(None, 5))
    assert len(published(room.answer(Accepted(plan(8))))) == 1


def test_a_get_always_asks_and_publishes_however_lately(room: Room) -> None:
    for _ in range(3):
        assert calls(room.hear(Get(0))) == [ASK_FOR_GET]
        assert len(published(room.answer(Accepted(plan(8))))) == 1


def test_gets_that_wait_share_one_answer_and_one_publication(room: Room) -> None:
    room.hear(Heartbeat(HELLO.tag, 1))
    for number in (2, 3, 4):
        room.hear(Get(0, number))
    assert calls(room.answer(TAKEN)) == [ASK_FOR_GET]
    effects = room.answer(Accepted(plan(8)))
    assert (len(published(effects)), codes(effects), settled(effects)) == (1, [(2, 0), (3, 0), (4, 0)], [2, 3, 4])


def test_a_get_that_comes_while_the_service_is_asked_has_an_answer_of_its_own(room: Room) -> None:
    room.hear(Get(0, 1))
    assert room.hear(Get(0, 2)) == []
    effects = room.answer(Accepted(plan(8)))
    assert (settled(effects), calls(effects)) == ([1], [ASK_FOR_GET])
    assert settled(room.answer(Accepted(plan(9)))) == [2]


def test_the_answer_of_a_get_serves_a_have(room: Room) -> None:
    room.hear(Get(0))
    room.answer(Accepted(plan(8)))
    assert calls(have(room, 8)) == []


@pytest.mark.parametrize(("outcome", "code"), [(Rejected("no"), 4), (Abandoned("no"), 7)])
def test_a_get_that_fails_is_told(room: Room, outcome: Rejected | Abandoned, code: int) -> None:
    room.hear(Get(0, 5))
    effects = room.answer(outcome)
    assert (kinds(effects), codes(effects)) == (["PublishAck", "DeadLetter", "Acknowledge"], [(5, code)])


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
def test_the_hello_says_which_plan_is_sent(hello: Hello, payload: bytes) -> None:
    room = Room()
    room.know(hello)
    room.hear(Get(0))
    assert published(room.answer(Accepted(plan(8)))) == [(8, payload)]


@pytest.mark.parametrize("hello", [limited(99), limited(49, 1), limited(0)])
def test_a_get_whose_plan_does_not_fit_gets_code_6(hello: Hello) -> None:
    room = Room()
    room.know(hello)
    room.hear(Get(0, 5))
    effects = room.answer(Accepted(plan(8)))
    assert (codes(effects), published(effects), settled(effects)) == ([(5, 6)], [], [1])


def test_a_have_whose_plan_does_not_fit_gets_its_0_and_code_6_once_for_each_digest() -> None:
    room = Room(Policy(ask_registration=False, plan_ttl=TTL))
    room.know(limited(99))
    told = []
    for digest in (8, 8, 8, 9, 9):
        effects = have(room, 0, seq=1)
        assert codes(effects) == [(1, 0)]
        if calls(effects):
            told += codes(room.answer(Accepted(plan(digest))))
        room.wait(TTL)
    assert told == [(None, 6), (None, 6)]


def test_code_6_says_what_did_not_fit() -> None:
    room = Room()
    room.know(limited(99))
    have(room, 0)
    [reply] = only(room.answer(Accepted(plan(8))), PublishAck)
    assert (reply.ack.detail, reply.max_payload) == ("plan 8 does not fit max_payload 99", 99)


def test_a_plan_that_fits_a_newer_hello_is_published() -> None:
    room = Room(Policy(ask_registration=False, plan_ttl=TTL))
    room.know(limited(99))
    have(room, 0)
    room.answer(Accepted(plan(8)))
    room.hear(limited(200))
    room.wait(TTL)
    have(room, 0)
    assert len(published(room.answer(Accepted(plan(8))))) == 1


# Before the hello is known


def test_a_get_waits_for_the_hello_that_could_limit_its_plan() -> None:
    room = Room()
    assert kinds(room.hear(Get(0, 5))) == ["FetchRetainedHello"]
    room.confirm()
    effects = room.hear(limited(None, 1))
    assert calls(effects) == [ASK_FOR_GET]
    assert published(room.answer(Accepted(plan(8)))) == [(8, b"b" * 50)]


def test_a_get_of_a_device_without_hello_goes_on_soon() -> None:
    room = Room()
    room.hear(Get(0, 5))
    room.confirm()
    room.wait(0.5)
    assert calls(room.core.tick(room.now)) == [ASK_FOR_GET]
    assert published(room.answer(Accepted(plan(8)))) == [(8, b"u" * 100)]


def test_the_have_of_a_device_without_hello_holds_no_heartbeat() -> None:
    room = Room()
    room.hear(Heartbeat(LAYOUT, have=0))
    assert kinds(room.answer(TAKEN)) == ["Acknowledge", "FetchRetainedHello"]
    room.hear(Heartbeat(LAYOUT, have=0))
    assert settled(room.answer(TAKEN)) == [2]
    room.confirm()
    room.wait(0.5)
    assert calls(room.core.tick(room.now)) == [ASK_FOR_HAVE]
