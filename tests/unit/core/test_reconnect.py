"""A new connection: what the broker delivers again is forgotten, what it does not is kept. And the end: no effect."""

import pytest

from gateway.core.effects import FetchRetainedHello
from gateway.errors import DecodeError
from gateway.protocol.messages import Get, Heartbeat
from gateway.protocol.service_calls import Rejected, RetryLater
from tests.support.engine import DEVICE, HELLO, OTHER, REGISTERED, TAKEN, Room, Slip, calls, codes, kinds, settled


@pytest.fixture
def room() -> Room:
    """Registration is not asked for, the hello of DEVICE is known."""
    room = Room()
    room.know()
    return room


def beat(number: int, seq: int | None = None) -> Heartbeat:
    return Heartbeat(HELLO.tag, number, (number,), seq=seq)


def reconnect(room: Room, resumed: bool) -> list[int]:
    """The numbers of the tickets that are let go."""
    room.connection += 1
    effects = room.core.reconnected(room.connection, resumed)
    assert set(kinds(effects)) <= {"Acknowledge", "FetchRetainedHello"}
    return settled(effects)


def test_what_waits_is_forgotten_where_the_session_is_present(room: Room) -> None:
    for number in (1, 2, 3):
        room.hear(beat(number))
    assert reconnect(room, resumed=True) == [2, 3]
    assert (settled(room.answer(TAKEN)), room.hear(beat(2)) != []) == ([1], True)


def test_what_waits_is_kept_where_the_session_is_new(room: Room) -> None:
    for number in (1, 2, 3):
        room.hear(beat(number))
    assert reconnect(room, resumed=False) == []
    effects = room.answer(TAKEN)
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert settled(room.answer(TAKEN)) == [2, 3]


def test_the_call_in_flight_is_heard_to_its_end_and_acked(room: Room) -> None:
    room.hear(beat(1, seq=9))
    reconnect(room, resumed=True)
    assert codes(room.answer(TAKEN)) == [(9, 0)]


def test_redelivered_heartbeats_wait_behind_the_call_in_flight(room: Room) -> None:
    room.hear(beat(1))
    reconnect(room, resumed=True)
    assert room.hear(beat(1)) == room.hear(beat(2)) == []
    assert [call.heartbeats for call in calls(room.answer(TAKEN))] == [2]


def test_a_merged_call_that_is_refused_after_the_break_is_left_to_the_redelivery(room: Room) -> None:
    for number in (1, 2, 3):
        room.hear(beat(number))
    room.answer(TAKEN)
    reconnect(room, resumed=True)
    room.hear(beat(2))
    effects = room.answer(Rejected("no"))
    assert (codes(effects), settled(effects)) == ([], [2, 3])
    assert [call.heartbeats for call in calls(effects)] == [1]


def test_a_merged_call_that_is_refused_in_a_new_session_goes_one_by_one(room: Room) -> None:
    for number in (1, 2, 3):
        room.hear(beat(number))
    room.answer(TAKEN)
    reconnect(room, resumed=False)
    effects = room.answer(Rejected("no"))
    assert (settled(effects), [call.heartbeats for call in calls(effects)]) == ([], [1])


def test_one_by_one_ends_with_what_is_forgotten(room: Room) -> None:
    for number in (1, 2, 3, 4):
        room.hear(beat(number))
    room.answer(TAKEN)
    room.answer(Rejected("no"))
    assert reconnect(room, resumed=True) == [3, 4]
    room.hear(beat(3))
    room.hear(beat(4))
    assert [call.heartbeats for call in calls(room.answer(TAKEN))] == [2]


def test_gets_are_forgotten_alike(room: Room) -> None:
    room.hear(beat(1))
    room.hear(Get(0))
    assert reconnect(room, resumed=True) == [2]


@pytest.mark.parametrize("resumed", [True, False])
def test_every_device_is_gone_through(room: Room, resumed: bool) -> None:
    room.know(device=OTHER)
    for number in (1, 2):
        room.hear(beat(number))
        room.hear(beat(number), OTHER)
    assert reconnect(room, resumed) == ([3, 4] if resumed else [])


def test_a_hello_that_is_still_needed_is_read_again() -> None:
    room = Room()
    room.hear(beat(1))
    room.confirm()
    room.connection += 1
    assert room.core.reconnected(room.connection, False) == [FetchRetainedHello(DEVICE)]
    assert room.core.deadline() is None
    room.confirm()
    assert room.core.deadline() is not None


def test_a_hello_that_nobody_waits_for_any_more_is_not() -> None:
    room = Room()
    room.hear(beat(1))
    room.confirm()
    assert reconnect(room, resumed=True) == [1]
    assert room.core.deadline() is None
    assert room.hear(beat(1)) == [FetchRetainedHello(DEVICE)]


def test_after_the_stop_nothing_has_an_effect(room: Room) -> None:
    room.hear(beat(1))
    room.hear(beat(2))
    room.core.stop()
    assert room.hear(beat(3)) == room.hear(HELLO) == room.hear(Get(0)) == []
    assert room.answer(TAKEN) == room.answer(REGISTERED) == []
    assert room.core.refuse(Slip(9), DecodeError("why"), room.now) == []
    assert room.core.reconnected(2, True) == room.core.reconnected(3, False) == []
    room.wait(100)
    assert room.core.tick(room.now) == []


def test_what_came_before_the_session_began_is_nowhere_else_and_kept(room: Room) -> None:
    """The broker lost the session, and with it the first heartbeats; a break of the new session is not their end."""
    room.hear(beat(1))
    room.answer(RetryLater(alone=True))
    room.hear(beat(2))
    assert reconnect(room, resumed=False) == []
    room.hear(beat(3))
    assert reconnect(room, resumed=True) == [3]
    assert reconnect(room, resumed=True) == []
    effects = room.core.again(DEVICE, room.now)
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert settled(room.answer(TAKEN)) == [1, 2]
