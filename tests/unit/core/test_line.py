"""Calls that are postponed, and the line of devices that wait for room: nothing is lost or out of order."""

import pytest

from gateway.core.effects import Effect
from gateway.core.engine import Policy
from gateway.protocol.messages import Device, Get, Heartbeat, Read
from gateway.protocol.service_calls import (
    Abandoned,
    GetDeployments,
    GetDeviceRegistration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from tests.support.engine import DEVICE, HELLO, OTHER, REGISTERED, TAKEN, Room, calls, codes, plan, settled

ALONE, ALL = RetryLater(alone=True), RetryLater(alone=False)
THIRD = Device("fleet-a", "dev-3")


@pytest.fixture
def room() -> Room:
    """Registration is not asked for, the hellos are known."""
    room = Room()
    for device in (DEVICE, OTHER, THIRD):
        room.know(device=device)
    return room


def beat(number: int, seq: int | None = None) -> Heartbeat:
    return Heartbeat(HELLO.tag, number, (number,), seq=seq)


def widen(room: Room, window: int) -> list[Effect]:
    return room.core.widen(window, room.now)


def numbers(effects: list[Effect]) -> list[list[int]]:
    """The values of each SendHeartbeat that is asked for."""
    return [[value for _, value, _ in call.metrics] for call in calls(effects)]


def asked(effects: list[Effect]) -> list[Device]:
    return [call.device for call in calls(effects)]


# Postponed for the device's own sake


def test_a_device_that_failed_alone_waits_until_it_is_told(room: Room) -> None:
    room.hear(beat(1))
    assert room.answer(ALONE) == []
    assert room.hear(beat(2)) == []
    assert numbers(room.core.again(DEVICE, room.now)) == [[1]]


def test_others_go_on_meanwhile(room: Room) -> None:
    room.hear(beat(1))
    room.answer(ALONE)
    assert asked(room.hear(beat(1), OTHER)) == [OTHER]


def test_just_what_failed_is_tried_again_and_the_rest_follows(room: Room) -> None:
    """So that what is given up in the end has failed all the time."""
    room.hear(beat(1))
    room.hear(beat(2))
    room.hear(beat(3))
    room.answer(TAKEN)
    room.answer(ALONE)
    room.hear(beat(4, seq=4))
    assert numbers(room.core.again(DEVICE, room.now)) == [[2, 3]]
    effects = room.answer(Abandoned("503"))
    assert (settled(effects), numbers(effects)) == ([2, 3], [[4]])


def test_one_by_one_stays_one_by_one(room: Room) -> None:
    for number in (1, 2, 3, 4):
        room.hear(beat(number))
    room.answer(TAKEN)
    assert numbers(room.answer(Rejected("no"))) == [[2]]
    for outcome in (ALONE, ALONE):
        room.answer(outcome)
        assert numbers(room.core.again(DEVICE, room.now)) == [[2]]
    assert numbers(room.answer(TAKEN)) == [[3]]
    room.hear(beat(5))
    assert numbers(room.answer(Rejected("no"))) == [[4]]
    assert numbers(room.answer(TAKEN)) == [[5]]


def test_a_get_is_tried_again_alike(room: Room) -> None:
    room.hear(Get(0, 7))
    assert room.answer(ALONE) == []
    assert calls(room.core.again(DEVICE, room.now)) == [GetDeployments(DEVICE, patient=True)]


def test_a_registration_too_and_then_all_that_waits_is_one_call() -> None:
    room = Room(Policy())
    room.know()
    room.hear(beat(1))
    room.answer(ALONE)
    assert room.hear(beat(2)) == []
    assert calls(room.core.again(DEVICE, room.now)) == [GetDeviceRegistration(DEVICE)]
    assert numbers(room.answer(REGISTERED)) == [[1, 2]]


def test_what_is_delivered_again_after_a_break_is_not_tried_twice(room: Room) -> None:
    room.hear(beat(1))
    room.hear(beat(2))
    room.answer(ALONE)
    room.connection += 1
    assert settled(room.core.reconnected(room.connection, resumed=True)) == [1, 2]
    for number in (1, 2):
        assert room.hear(beat(number)) == []
    assert numbers(room.core.again(DEVICE, room.now)) == [[1, 2]]


def test_a_call_that_is_postponed_after_the_break_is_left_to_the_redelivery(room: Room) -> None:
    room.hear(beat(1))
    room.connection += 1
    room.core.reconnected(room.connection, resumed=True)
    assert settled(room.answer(ALONE)) == [1]
    room.hear(beat(1))
    assert numbers(room.core.again(DEVICE, room.now)) == [[1]]


def test_after_the_stop_nothing_begins_again(room: Room) -> None:
    room.hear(beat(1))
    room.answer(ALONE)
    room.core.stop()
    assert room.core.again(DEVICE, room.now) == widen(room, 0) == widen(room, 9) == []


# Room


def test_what_finds_no_room_is_merged_when_its_turn_comes(room: Room) -> None:
    widen(room, 1)
    room.hear(beat(1))
    for number in (1, 2, 3):
        assert room.hear(beat(number), OTHER) == []
    assert room.core.in_line == 1
    effects = room.answer(TAKEN)
    assert (asked(effects), numbers(effects)) == ([OTHER], [[1, 2, 3]])
    assert room.core.in_line == 0


def test_who_came_first_is_served_first_and_nobody_goes_on_before_the_others(room: Room) -> None:
    widen(room, 1)
    for number in (1, 2):
        for device in (DEVICE, OTHER, THIRD):
            room.hear(beat(number), device)
    served = [DEVICE]
    for _ in range(3):
        effects = room.answer(TAKEN, served[-1])
        served += asked(effects)
    assert served == [DEVICE, OTHER, THIRD, DEVICE]


def test_while_the_service_fails_for_all_nothing_begins(room: Room) -> None:
    room.hear(beat(1))
    assert widen(room, 0) == []
    assert room.answer(ALL) == room.hear(beat(2)) == room.hear(beat(1), OTHER) == []
    assert room.core.in_line == 2


def test_a_probe_goes_round_the_devices(room: Room) -> None:
    """One that always fails does not stand before the others for ever."""
    room.hear(beat(1))
    widen(room, 0)
    room.answer(ALL)
    room.hear(beat(1), OTHER)
    probed = []
    for _ in range(4):
        probed += (now := asked(widen(room, 1)))
        widen(room, 0)
        assert room.answer(ALL, now[0]) == []
    assert probed == [DEVICE, OTHER, DEVICE, OTHER]


def test_after_an_outage_a_devices_backlog_is_one_call(room: Room) -> None:
    room.hear(beat(1))
    widen(room, 0)
    room.answer(ALL)
    for number in range(2, 51):
        room.hear(beat(number))
    effects = widen(room, 128)
    assert numbers(effects) == [list(range(1, 51))]
    assert settled(room.answer(TAKEN)) == list(range(1, 51))


def test_room_for_more_lets_more_begin(room: Room) -> None:
    widen(room, 0)
    for device in (DEVICE, OTHER, THIRD):
        room.hear(beat(1), device)
    assert asked(widen(room, 2)) == [DEVICE, OTHER]
    assert asked(widen(room, 3)) == [THIRD]


def test_who_was_just_found_registered_keeps_its_turn() -> None:
    room = Room(Policy())
    for device in (DEVICE, OTHER):
        room.know(device=device)
    widen(room, 1)
    room.hear(beat(1))
    room.hear(beat(1), OTHER)
    assert [type(call) for call in calls(room.answer(REGISTERED))] == [SendHeartbeat]
    assert calls(room.answer(TAKEN)) == [GetDeviceRegistration(OTHER)]


def test_reads_and_plans_wait_for_room_too(room: Room) -> None:
    widen(room, 1)
    room.hear(beat(1))
    assert settled(room.hear(Read(7, 0, 0, 64), OTHER)) == [2]
    assert calls(room.answer(TAKEN)) == [GetDeployments(OTHER, patient=False)]
    assert codes(room.answer(type(TAKEN)(plan(7)), OTHER)) == [(None, 5)]


def test_a_device_whose_messages_went_while_it_waited_in_line_takes_no_room(room: Room) -> None:
    widen(room, 1)
    room.hear(beat(1))
    room.hear(beat(1), OTHER)
    room.hear(beat(1), THIRD)
    room.connection += 1
    room.core.reconnected(room.connection, resumed=True)
    room.hear(beat(2), THIRD)
    assert asked(room.answer(TAKEN)) == [THIRD]


def test_a_have_is_compared_when_there_is_room(room: Room) -> None:
    widen(room, 1)
    room.hear(Heartbeat(HELLO.tag, 1, (1,), have=5))
    room.hear(beat(1), OTHER)
    assert asked(room.answer(TAKEN)) == [OTHER]
    assert calls(room.answer(TAKEN, OTHER)) == [GetDeployments(DEVICE, patient=False)]
    assert room.answer(type(TAKEN)(plan(5))) == []
