"""The registration: asked once and kept for CacheTTL, "not registered" for 60 s at most, and what counts as a yes."""

import pytest

from gateway.core.engine import Policy
from gateway.protocol.messages import Get, Heartbeat
from gateway.protocol.service_calls import (
    Accepted,
    Cancelled,
    GetDeployments,
    GetDeviceRegistration,
    Registration,
    SendHeartbeat,
)
from tests.support.engine import DEVICE, HELLO, OTHER, REGISTERED, TAKEN, Room, calls, codes, kinds, settled

HEARTBEAT = Heartbeat(HELLO.tag, 1, seq=7)


def asking() -> Room:
    """A room that asks for the registration, and knows the device's hello."""
    room = Room(Policy())
    room.know()
    return room


def answered(word: str, ttl: float) -> Accepted[Registration]:
    return Accepted(Registration(word, ttl))


def test_the_registration_is_asked_before_anything_else() -> None:
    room = asking()
    assert calls(room.hear(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]
    assert room.hear(HEARTBEAT) == []
    [call] = calls(room.answer(REGISTERED))
    assert (type(call), call.heartbeats) == (SendHeartbeat, 2)
    assert settled(room.answer(TAKEN)) == [1, 2]


def test_it_is_kept_for_its_cache_ttl() -> None:
    room = asking()
    room.hear(HEARTBEAT)
    room.answer(answered("REGISTERED", 90.0))
    room.answer(TAKEN)
    room.wait(89.9)
    assert [type(call) for call in calls(room.hear(HEARTBEAT))] == [SendHeartbeat]
    room.answer(TAKEN)
    room.wait(0.1)
    assert [type(call) for call in calls(room.hear(HEARTBEAT))] == [GetDeviceRegistration]


def test_a_cache_ttl_of_0_makes_it_be_asked_for_each_call_and_stops_nothing() -> None:
    room = asking()
    for number in (1, 2, 3):
        assert calls(room.hear(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]
        assert [type(call) for call in calls(room.answer(answered("REGISTERED", 0.0)))] == [SendHeartbeat]
        assert settled(room.answer(TAKEN)) == [number]


def test_one_devices_registration_is_not_another_ones() -> None:
    room = asking()
    room.know(device=OTHER)
    room.hear(HEARTBEAT)
    room.answer(REGISTERED)
    assert calls(room.hear(HEARTBEAT, OTHER)) == [GetDeviceRegistration(OTHER)]


@pytest.mark.parametrize("word", ["REGISTERED", "Registered", "registered", "true", "TRUE", "True"])
def test_words_that_count_as_registered(word: str) -> None:
    room = asking()
    room.hear(HEARTBEAT)
    assert [type(call) for call in calls(room.answer(answered(word, 60.0)))] == [SendHeartbeat]


@pytest.mark.parametrize("word", ["", "false", "DEREGISTERED", "NOT_REGISTERED", "yes", "REGISTERED "])
def test_anything_else_counts_as_not(word: str) -> None:
    room = asking()
    room.hear(HEARTBEAT)
    assert codes(room.answer(answered(word, 60.0))) == [(7, 3)]


def test_the_words_are_a_setting() -> None:
    room = Room(Policy(registered_values=frozenset({"yes"})))
    room.know()
    room.hear(HEARTBEAT)
    assert [type(call) for call in calls(room.answer(answered("YES", 60.0)))] == [SendHeartbeat]


def test_asking_at_all_is_a_setting() -> None:
    room = Room(Policy(ask_registration=False))
    room.know()
    assert [type(call) for call in calls(room.hear(HEARTBEAT))] == [SendHeartbeat]


def test_all_that_waits_of_an_unregistered_device_is_refused_with_code_3() -> None:
    room = asking()
    room.hear(HEARTBEAT)
    room.hear(Heartbeat(9999, 1, seq=8))
    room.hear(Get(0, 9))
    effects = room.answer(answered("false", 60.0))
    assert codes(effects) == [(7, 3), (8, 3), (9, 3)]
    assert [kind for kind in kinds(effects) if kind != "FetchRetainedHello"] == [
        "PublishAck",
        "DeadLetter",
        "Acknowledge",
    ] * 3
    assert settled(effects) == [1, 2, 3]


@pytest.mark.parametrize(("ttl", "believed"), [(300.0, 60.0), (60.0, 60.0), (20.0, 20.0), (0.0, 0.0)])
def test_not_registered_is_believed_for_60_s_at_most(ttl: float, believed: float) -> None:
    room = asking()
    room.hear(HEARTBEAT)
    room.answer(answered("false", ttl))
    if believed:
        room.wait(believed - 0.1)
        effects = room.hear(HEARTBEAT)
        assert (codes(effects), settled(effects), calls(effects)) == ([(7, 3)], [2], [])
    room.wait(0.1)
    assert calls(room.hear(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]


def test_a_device_that_was_registered_meanwhile_is_served() -> None:
    room = asking()
    room.hear(HEARTBEAT)
    room.answer(answered("false", 60.0))
    room.wait(60.0)
    room.hear(HEARTBEAT)
    room.answer(REGISTERED)
    assert codes(room.answer(TAKEN)) == [(7, 0)]


def test_a_get_needs_a_registration_too() -> None:
    room = asking()
    assert calls(room.hear(Get(0))) == [GetDeviceRegistration(DEVICE)]
    assert calls(room.answer(REGISTERED)) == [GetDeployments(DEVICE, patient=True)]


def test_a_registration_that_was_not_answered_settles_nothing() -> None:
    room = asking()
    room.hear(HEARTBEAT)
    assert room.answer(Cancelled("the gateway stops")) == []
