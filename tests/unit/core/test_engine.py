"""One call in flight for a device: what waits meanwhile is merged, what is rejected is split, Acknowledge is last."""

import pytest

from gateway.core.effects import DeadLetter, PublishAck
from gateway.core.engine import Policy
from gateway.errors import Code, DecodeError, LimitError, RateError
from gateway.protocol.messages import Get, Heartbeat, Read, Result
from gateway.protocol.service_calls import Abandoned, Cancelled, Rejected, SendHeartbeat
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    HELLO,
    LAYOUT,
    NEWER,
    OTHER,
    EngineHarness,
    Token,
    acknowledged,
    calls,
    codes,
    heartbeat,
    of_type,
    type_names,
)


def numbers(call: SendHeartbeat) -> list[float]:
    return [value for _, value, _ in call.metrics]


def test_a_heartbeat_becomes_a_call_and_is_acknowledged_once_it_is_accepted(harness: EngineHarness) -> None:
    effects = harness.receive(heartbeat(1))
    assert type_names(effects) == ["CallService"]
    assert [numbers(call) for call in calls(effects)] == [[1]]
    assert type_names(harness.resolve(ACCEPTED)) == ["Acknowledge"]


def test_an_ack_is_published_before_the_acknowledgement_and_only_with_a_seq(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=17))
    effects = harness.resolve(ACCEPTED)
    assert type_names(effects) == ["PublishAck", "Acknowledge"]
    [reply] = of_type(effects, PublishAck)
    assert (reply.ack.seq, reply.ack.code, reply.ack.time, reply.ack.detail) == (17, 0, int(harness.wall), None)
    assert (reply.delivery, reply.max_payload) == (Token(1), HELLO.max_payload)


def test_a_seq_of_0_is_a_seq(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=0))
    assert codes(harness.resolve(ACCEPTED)) == [(0, 0)]


def test_while_a_call_is_in_flight_the_rest_waits_and_is_merged(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=1))
    assert (
        harness.receive(heartbeat(2, seq=2))
        == harness.receive(heartbeat(3))
        == harness.receive(heartbeat(4, seq=4))
        == []
    )
    effects = harness.resolve(ACCEPTED)
    assert (acknowledged(effects), [numbers(call) for call in calls(effects)]) == ([1], [[2, 3, 4]])
    effects = harness.resolve(ACCEPTED)
    assert (codes(effects), acknowledged(effects)) == ([(2, 0), (4, 0)], [2, 3, 4])


def test_devices_do_not_wait_for_each_other(harness: EngineHarness) -> None:
    harness.restore_hello(device=OTHER)
    harness.receive(heartbeat(1))
    assert len(calls(harness.receive(heartbeat(2), OTHER))) == 1
    assert acknowledged(harness.resolve(ACCEPTED, OTHER)) == [2]
    assert acknowledged(harness.resolve(ACCEPTED)) == [1]


def test_what_cannot_be_merged_is_sent_in_its_order() -> None:
    harness = EngineHarness(Policy(ask_registration=False, merge_heartbeats=2))
    harness.receive(Heartbeat(LAYOUT, None, (0,)))
    for layout, number in ((LAYOUT, 1), (LAYOUT, 2), (LAYOUT, 3), (NEWER, 4), (LAYOUT, 5)):
        harness.receive(Heartbeat(layout, None, (number,)))
    sent = [numbers(call) for _ in range(4) for call in calls(harness.resolve(ACCEPTED))]
    assert sent == [[1, 2], [3], [4], [5]]


def test_a_call_carries_one_result_at_most(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    for deployment in ("a", "a", "b", "a"):
        harness.receive(Heartbeat(HELLO.tag, 1, result=Result(deployment, "SUCCESS")))
    sent = [(call.result.deployment, call.heartbeats) for _ in range(3) for call in calls(harness.resolve(ACCEPTED))]
    assert sent == [("a", 2), ("b", 1), ("a", 1)]


def test_a_get_between_heartbeats_keeps_its_place(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    harness.receive(Get(0))
    harness.receive(heartbeat(3))
    assert [numbers(call) for call in calls(harness.resolve(ACCEPTED))] == [[2]]
    assert [type(call).__name__ for call in calls(harness.resolve(ACCEPTED))] == ["GetDeployments"]


def test_a_rejected_heartbeat_gets_an_error_a_dead_letter_and_an_acknowledgement(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=5))
    effects = harness.resolve(Rejected("ValidationException: no such metric"))
    assert type_names(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert codes(effects) == [(5, 4)]
    assert of_type(effects, DeadLetter) == [DeadLetter(Token(1), Code.REFUSED, "ValidationException: no such metric")]


def test_an_error_is_published_even_without_a_seq(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    assert codes(harness.resolve(Rejected("no"))) == [(None, 4)]


def test_a_rejected_merged_call_is_split_and_only_the_message_at_fault_gets_an_error(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    for number in (2, 3, 4):
        harness.receive(heartbeat(number, seq=number))
    harness.resolve(ACCEPTED)
    effects = harness.resolve(Rejected("no"))
    assert (codes(effects), acknowledged(effects), [numbers(call) for call in calls(effects)]) == ([], [], [[2]])
    harness.receive(heartbeat(5))
    harness.receive(heartbeat(6))
    effects = harness.resolve(ACCEPTED)
    assert (codes(effects), [numbers(call) for call in calls(effects)]) == ([(2, 0)], [[3]])
    effects = harness.resolve(Rejected("no"))
    assert (codes(effects), acknowledged(effects), [numbers(call) for call in calls(effects)]) == ([(3, 4)], [3], [[4]])
    effects = harness.resolve(ACCEPTED)
    assert (codes(effects), [numbers(call) for call in calls(effects)]) == ([(4, 0)], [[5, 6]])


def test_a_message_that_was_given_up_gets_code_7_and_the_next_one_passes(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=1))
    harness.receive(heartbeat(2, seq=2))
    effects = harness.resolve(Abandoned("503 for 300 s"))
    assert (codes(effects), len(calls(effects))) == ([(1, 7)], 1)
    assert codes(harness.resolve(ACCEPTED)) == [(2, 0)]


def test_what_was_cancelled_is_not_acknowledged_and_no_call_follows(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    assert harness.resolve(Cancelled("the gateway stops")) == []


def test_what_was_cancelled_is_sent_first_with_the_next_message(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    harness.resolve(Cancelled("the gateway stops"))
    assert [numbers(call) for call in calls(harness.receive(heartbeat(3)))] == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("error", "ack"), [(DecodeError("why"), (None, 1)), (LimitError("why"), (None, 4)), (LimitError("why", 7), (7, 4))]
)
def test_what_could_not_be_decoded_gets_an_error_a_dead_letter_and_an_acknowledgement(
    harness: EngineHarness, error: DecodeError | LimitError, ack: tuple[int | None, int]
) -> None:
    effects = harness.engine.reject(Token(9), error, harness.now, None)
    assert type_names(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert (codes(effects), acknowledged(effects)) == ([ack], [9])
    assert of_type(effects, DeadLetter) == [DeadLetter(Token(9), Code(ack[1]), "why")]


def test_a_report_stands_for_many_messages_that_are_acknowledged_already(harness: EngineHarness) -> None:
    effects = harness.engine.report(Token(9), RateError("too much", 7), harness.now, DEVICE, count=1000)
    assert type_names(effects) == ["PublishAck", "DeadLetter"]
    assert codes(effects) == [(7, 7)]
    assert of_type(effects, DeadLetter) == [DeadLetter(Token(9), Code.GAVE_UP, "too much", 1000)]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Heartbeat(HELLO.tag, 1, (1, 2, 3), seq=5), 1),
        (Heartbeat(LAYOUT, 0, ((1, 1),), seq=5), 4),
        (Heartbeat(LAYOUT, 4_102_444_801, seq=5), 4),
    ],
)
def test_what_does_not_fit_its_layout_is_rejected_at_once_with_its_seq(
    harness: EngineHarness, message: Heartbeat, code: int
) -> None:
    effects = harness.receive(message)
    assert (codes(effects), acknowledged(effects), calls(effects)) == ([(5, code)], [1], [])
    assert len(calls(harness.receive(heartbeat(1)))) == 1


def test_a_read_of_an_unknown_plan_is_acknowledged_and_calls_the_service_once(harness: EngineHarness) -> None:
    assert type_names(harness.receive(Read(5, 0, 0, 512))) == ["Acknowledge", "CallService"]


def test_the_engine_shows_its_state(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(Heartbeat(1, 1), OTHER)
    assert repr(harness.engine) == "<Engine: 2 devices, 2 busy, 1 awaiting a hello>"
    assert harness.engine.devices == 2
    assert str(DEVICE) == "fleet-a/dev-1"
