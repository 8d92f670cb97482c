"""A new connection: what the broker delivers again is dropped, what it does not is kept. After the stop: no effect."""

import pytest

from gateway.core.effects import FetchRetainedHello
from gateway.errors import DecodeError
from gateway.protocol.messages import Get
from gateway.protocol.service_calls import Rejected, RetryLater
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    HELLO,
    OTHER,
    REGISTERED,
    EngineHarness,
    Token,
    acknowledged,
    calls,
    codes,
    heartbeat,
    type_names,
)


def reconnect(harness: EngineHarness, resumed: bool) -> list[int]:
    """The deliveries that are dropped."""
    harness.connection += 1
    effects = harness.engine.reconnected(harness.connection, resumed, harness.now)
    assert set(type_names(effects)) <= {"Acknowledge", "FetchRetainedHello"}
    return acknowledged(effects)


def test_what_waits_is_dropped_where_the_session_is_present(harness: EngineHarness) -> None:
    for number in (1, 2, 3):
        harness.receive(heartbeat(number))
    assert reconnect(harness, resumed=True) == [2, 3]
    assert (acknowledged(harness.resolve(ACCEPTED)), harness.receive(heartbeat(2)) != []) == ([1], True)


def test_what_waits_is_kept_where_the_session_is_new(harness: EngineHarness) -> None:
    for number in (1, 2, 3):
        harness.receive(heartbeat(number))
    assert reconnect(harness, resumed=False) == []
    effects = harness.resolve(ACCEPTED)
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert acknowledged(harness.resolve(ACCEPTED)) == [2, 3]


def test_the_call_in_flight_ends_and_gets_its_ack(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1, seq=9))
    reconnect(harness, resumed=True)
    assert codes(harness.resolve(ACCEPTED)) == [(9, 0)]


def test_redelivered_heartbeats_wait_behind_the_call_in_flight(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    reconnect(harness, resumed=True)
    assert harness.receive(heartbeat(1)) == harness.receive(heartbeat(2)) == []
    assert [call.heartbeats for call in calls(harness.resolve(ACCEPTED))] == [2]


def test_a_merged_call_that_is_rejected_after_a_reconnect_is_left_to_the_redelivery(harness: EngineHarness) -> None:
    for number in (1, 2, 3):
        harness.receive(heartbeat(number))
    harness.resolve(ACCEPTED)
    reconnect(harness, resumed=True)
    harness.receive(heartbeat(2))
    effects = harness.resolve(Rejected("no"))
    assert (codes(effects), acknowledged(effects)) == ([], [2, 3])
    assert [call.heartbeats for call in calls(effects)] == [1]


def test_a_merged_call_that_is_rejected_in_a_new_session_is_split(harness: EngineHarness) -> None:
    for number in (1, 2, 3):
        harness.receive(heartbeat(number))
    harness.resolve(ACCEPTED)
    reconnect(harness, resumed=False)
    effects = harness.resolve(Rejected("no"))
    assert (acknowledged(effects), [call.heartbeats for call in calls(effects)]) == ([], [1])


def test_a_split_ends_with_what_is_dropped(harness: EngineHarness) -> None:
    for number in (1, 2, 3, 4):
        harness.receive(heartbeat(number))
    harness.resolve(ACCEPTED)
    harness.resolve(Rejected("no"))
    assert reconnect(harness, resumed=True) == [3, 4]
    harness.receive(heartbeat(3))
    harness.receive(heartbeat(4))
    assert [call.heartbeats for call in calls(harness.resolve(ACCEPTED))] == [2]


def test_gets_are_dropped_alike(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(Get(0))
    assert reconnect(harness, resumed=True) == [2]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_reconnect_concerns_every_device(harness: EngineHarness, resumed: bool) -> None:
    harness.restore_hello(device=OTHER)
    for number in (1, 2):
        harness.receive(heartbeat(number))
        harness.receive(heartbeat(number), OTHER)
    assert reconnect(harness, resumed) == ([3, 4] if resumed else [])


def test_a_hello_that_is_still_awaited_is_fetched_again() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(1))
    harness.suback()
    harness.connection += 1
    assert harness.engine.reconnected(harness.connection, False, harness.now) == [FetchRetainedHello(DEVICE)]
    assert harness.engine.deadline() is None
    harness.suback()
    assert harness.engine.deadline() is not None


def test_a_hello_that_no_message_waits_for_is_not_fetched_again() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(1))
    harness.suback()
    assert reconnect(harness, resumed=True) == [1]
    assert harness.engine.deadline() is None
    assert harness.receive(heartbeat(1)) == [FetchRetainedHello(DEVICE)]


def test_after_the_stop_nothing_has_an_effect(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    harness.engine.stop()
    assert harness.receive(heartbeat(3)) == harness.receive(HELLO) == harness.receive(Get(0)) == []
    assert harness.resolve(ACCEPTED) == harness.resolve(REGISTERED) == []
    assert harness.engine.reject(Token(9), DecodeError("why"), harness.now, None) == []
    assert harness.engine.report(Token(9), DecodeError("why"), harness.now, None, 2) == []
    assert harness.engine.reconnected(2, True, harness.now) == harness.engine.reconnected(3, False, harness.now) == []
    harness.wait(100)
    assert harness.engine.tick(harness.now) == []


def test_what_came_before_the_session_began_is_kept(harness: EngineHarness) -> None:
    """The broker lost the session, and with it the first heartbeats; a break of the new session is not their end."""
    harness.receive(heartbeat(1))
    harness.resolve(RetryLater(only_this_device=True))
    harness.receive(heartbeat(2))
    assert reconnect(harness, resumed=False) == []
    harness.receive(heartbeat(3))
    assert reconnect(harness, resumed=True) == [3]
    assert reconnect(harness, resumed=True) == []
    effects = harness.engine.retry_due(DEVICE, harness.now)
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert acknowledged(harness.resolve(ACCEPTED)) == [1, 2]
