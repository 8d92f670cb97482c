"""One call in flight for a device: what waits meanwhile is merged, what is refused goes one by one, acks go last."""

import pytest

from gateway.core.effects import DeadLetter, PublishAck
from gateway.core.engine import Policy
from gateway.errors import Code, DecodeError, LimitError, RateError
from gateway.protocol.messages import Get, Heartbeat, Read, Result
from gateway.protocol.service_calls import Abandoned, Cancelled, Rejected, SendHeartbeat
from tests.support.engine import (
    DEVICE,
    HELLO,
    LAYOUT,
    NEWER,
    OTHER,
    TAKEN,
    Room,
    Slip,
    calls,
    codes,
    kinds,
    only,
    settled,
)


@pytest.fixture
def room() -> Room:
    """Registration is not asked for, the hello of DEVICE is known."""
    room = Room()
    room.know()
    return room


def beat(number: int, seq: int | None = None) -> Heartbeat:
    """A heartbeat that can be told by its only sample."""
    return Heartbeat(HELLO.tag, number, (number,), seq=seq)


def numbers(call: SendHeartbeat) -> list[float]:
    return [value for _, value, _ in call.metrics]


def test_a_heartbeat_becomes_a_call_and_is_settled_once_it_is_accepted(room: Room) -> None:
    effects = room.hear(beat(1))
    assert kinds(effects) == ["CallService"]
    assert [numbers(call) for call in calls(effects)] == [[1]]
    assert kinds(room.answer(TAKEN)) == ["Acknowledge"]


def test_an_ack_is_sent_before_the_settling_and_only_where_a_seq_was_given(room: Room) -> None:
    room.hear(beat(1, seq=17))
    effects = room.answer(TAKEN)
    assert kinds(effects) == ["PublishAck", "Acknowledge"]
    [reply] = only(effects, PublishAck)
    assert (reply.ack.seq, reply.ack.code, reply.ack.time, reply.ack.detail) == (17, 0, int(room.wall), None)
    assert (reply.ticket, reply.max_payload) == (Slip(1), HELLO.max_payload)


def test_a_seq_of_0_is_a_seq(room: Room) -> None:
    room.hear(beat(1, seq=0))
    assert codes(room.answer(TAKEN)) == [(0, 0)]


def test_while_a_call_is_in_flight_the_rest_waits_and_is_merged(room: Room) -> None:
    room.hear(beat(1, seq=1))
    assert room.hear(beat(2, seq=2)) == room.hear(beat(3)) == room.hear(beat(4, seq=4)) == []
    effects = room.answer(TAKEN)
    assert (settled(effects), [numbers(call) for call in calls(effects)]) == ([1], [[2, 3, 4]])
    effects = room.answer(TAKEN)
    assert (codes(effects), settled(effects)) == ([(2, 0), (4, 0)], [2, 3, 4])


def test_devices_do_not_wait_for_each_other(room: Room) -> None:
    room.know(device=OTHER)
    room.hear(beat(1))
    assert len(calls(room.hear(beat(2), OTHER))) == 1
    assert settled(room.answer(TAKEN, OTHER)) == [2]
    assert settled(room.answer(TAKEN)) == [1]


def test_what_cannot_be_merged_goes_in_its_order() -> None:
    room = Room(Policy(ask_registration=False, merge_heartbeats=2))
    room.hear(Heartbeat(LAYOUT, None, (0,)))
    for layout, number in ((LAYOUT, 1), (LAYOUT, 2), (LAYOUT, 3), (NEWER, 4), (LAYOUT, 5)):
        room.hear(Heartbeat(layout, None, (number,)))
    sent = [numbers(call) for _ in range(4) for call in calls(room.answer(TAKEN))]
    assert sent == [[1, 2], [3], [4], [5]]


def test_a_call_carries_one_result_at_most(room: Room) -> None:
    room.hear(beat(1))
    for deployment in ("a", "a", "b", "a"):
        room.hear(Heartbeat(HELLO.tag, 1, result=Result(deployment, "SUCCESS")))
    sent = [(call.result.deployment, call.heartbeats) for _ in range(3) for call in calls(room.answer(TAKEN))]
    assert sent == [("a", 2), ("b", 1), ("a", 1)]


def test_a_get_between_heartbeats_keeps_its_place(room: Room) -> None:
    room.hear(beat(1))
    room.hear(beat(2))
    room.hear(Get(0))
    room.hear(beat(3))
    assert [numbers(call) for call in calls(room.answer(TAKEN))] == [[2]]
    assert [type(call).__name__ for call in calls(room.answer(TAKEN))] == ["GetDeployments"]


def test_a_refused_heartbeat_is_told_buried_and_settled(room: Room) -> None:
    room.hear(beat(1, seq=5))
    effects = room.answer(Rejected("ValidationException: no such metric"))
    assert kinds(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert codes(effects) == [(5, 4)]
    assert only(effects, DeadLetter) == [DeadLetter(Slip(1), Code.REFUSED, "ValidationException: no such metric")]


def test_an_error_is_sent_even_without_a_seq(room: Room) -> None:
    room.hear(beat(1))
    assert codes(room.answer(Rejected("no"))) == [(None, 4)]


def test_a_refused_merged_call_goes_one_by_one_and_only_the_one_at_fault_is_told(room: Room) -> None:
    room.hear(beat(1))
    for number in (2, 3, 4):
        room.hear(beat(number, seq=number))
    room.answer(TAKEN)
    effects = room.answer(Rejected("no"))
    assert (codes(effects), settled(effects), [numbers(call) for call in calls(effects)]) == ([], [], [[2]])
    room.hear(beat(5))
    room.hear(beat(6))
    effects = room.answer(TAKEN)
    assert (codes(effects), [numbers(call) for call in calls(effects)]) == ([(2, 0)], [[3]])
    effects = room.answer(Rejected("no"))
    assert (codes(effects), settled(effects), [numbers(call) for call in calls(effects)]) == ([(3, 4)], [3], [[4]])
    effects = room.answer(TAKEN)
    assert (codes(effects), [numbers(call) for call in calls(effects)]) == ([(4, 0)], [[5, 6]])


def test_a_message_that_was_given_up_gets_code_7_and_the_next_one_passes(room: Room) -> None:
    room.hear(beat(1, seq=1))
    room.hear(beat(2, seq=2))
    effects = room.answer(Abandoned("503 for 300 s"))
    assert (codes(effects), len(calls(effects))) == ([(1, 7)], 1)
    assert codes(room.answer(TAKEN)) == [(2, 0)]


def test_what_nobody_answered_is_not_settled_and_nothing_more_is_asked(room: Room) -> None:
    room.hear(beat(1))
    room.hear(beat(2))
    assert room.answer(Cancelled("the gateway stops")) == []


def test_what_was_not_answered_goes_first_when_the_device_speaks_again(room: Room) -> None:
    room.hear(beat(1))
    room.hear(beat(2))
    room.answer(Cancelled("the gateway stops"))
    assert [numbers(call) for call in calls(room.hear(beat(3)))] == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("error", "told"), [(DecodeError("why"), (None, 1)), (LimitError("why"), (None, 4)), (LimitError("why", 7), (7, 4))]
)
def test_what_could_not_be_understood_is_told_buried_and_settled(
    room: Room, error: DecodeError | LimitError, told: tuple[int | None, int]
) -> None:
    effects = room.core.refuse(Slip(9), error, room.now)
    assert kinds(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert (codes(effects), settled(effects)) == ([told], [9])
    assert only(effects, DeadLetter) == [DeadLetter(Slip(9), Code(told[1]), "why")]


def test_who_was_told_already_is_not_told_again(room: Room) -> None:
    effects = room.core.refuse(Slip(9), RateError("too much"), room.now, DEVICE, told=False)
    assert (kinds(effects), settled(effects)) == (["DeadLetter", "Acknowledge"], [9])


@pytest.mark.parametrize(
    ("heartbeat", "code"),
    [
        (Heartbeat(HELLO.tag, 1, (1, 2, 3), seq=5), 1),
        (Heartbeat(LAYOUT, 0, ((1, 1),), seq=5), 4),
        (Heartbeat(LAYOUT, 4_102_444_801, seq=5), 4),
    ],
)
def test_what_does_not_fit_its_layout_is_refused_at_once_with_its_seq(
    room: Room, heartbeat: Heartbeat, code: int
) -> None:
    effects = room.hear(heartbeat)
    assert (codes(effects), settled(effects), calls(effects)) == ([(5, code)], [1], [])
    assert len(calls(room.hear(beat(1)))) == 1


def test_a_read_of_an_unknown_plan_is_settled_and_makes_the_service_be_asked_once(room: Room) -> None:
    assert kinds(room.hear(Read(5, 0, 0, 512))) == ["Acknowledge", "CallService"]


def test_the_core_shows_its_state(room: Room) -> None:
    room.hear(beat(1))
    room.hear(Heartbeat(1, 1), OTHER)
    assert repr(room.core) == "<Core: 2 devices, 2 busy, 1 awaiting a hello>"
    assert room.core.devices == 2
    assert str(DEVICE) == "fleet-a/dev-1"
