"""Devices without a clock: the earliest epoch that a tag's messages implied, until the hello fills one in."""

from typing import Any

import pytest

from gateway.core.effects import CallService, Effect, SaveHellos
from gateway.protocol.messages import Heartbeat, Hello, HelloRecord
from gateway.protocol.service_calls import Rejected
from tests.support.engine import DEVICE, EPOCH, LAYOUT, TAKEN, Room, calls, codes, only

TAG = 815
CLOCKLESS = Hello(TAG, LAYOUT)


@pytest.fixture
def room() -> Room:
    """It is EPOCH + 1000, and a device without a clock has said hello."""
    room = Room()
    room.know(CLOCKLESS)
    return room


def beat(time: int | None, *values: Any, seq: int | None = None) -> Heartbeat:
    return Heartbeat(TAG, time, values or (1,), seq=seq)


def dates(effects: list[Effect]) -> list[int]:
    """Seconds since EPOCH at which the samples of the calls are dated."""
    return [at - EPOCH for call in calls(effects) for _, _, at in call.metrics]


def test_the_first_message_is_dated_at_its_arrival(room: Room) -> None:
    effects = room.hear(beat(400))
    assert dates(effects) == [1000]
    [remember] = only(effects, SaveHellos)
    assert remember.hellos == (HelloRecord(CLOCKLESS, EPOCH + 600),)


def test_a_message_that_waited_is_not_dated_late(room: Room) -> None:
    room.hear(beat(400))
    room.answer(TAKEN)
    room.wait(500)
    effects = room.hear(beat(450))
    assert dates(effects) == [1050]
    assert only(effects, SaveHellos) == []


def test_a_message_that_waited_less_moves_the_epoch_and_is_remembered(room: Room) -> None:
    room.hear(beat(400))
    room.answer(TAKEN)
    room.wait(50)
    effects = room.hear(beat(460))
    assert dates(effects) == [1050]
    [remember] = only(effects, SaveHellos)
    assert remember.hellos[0].implied == EPOCH + 590


def test_what_still_waits_is_dated_by_what_is_learnt_meanwhile(room: Room) -> None:
    room.hear(beat(400))
    room.hear(beat(410))
    room.hear(beat(500))
    assert dates(room.answer(TAKEN)) == [910, 1000]


def test_a_message_without_a_time_implies_nothing(room: Room) -> None:
    effects = room.hear(beat(None))
    assert dates(effects) == [1000]
    assert only(effects, SaveHellos) == []


def test_each_boot_has_its_tag_and_its_epoch(room: Room) -> None:
    room.hear(beat(400))
    room.answer(TAKEN)
    room.hear(Hello(TAG + 1, LAYOUT))
    room.wait(10)
    assert dates(room.hear(Heartbeat(TAG + 1, 3, (1,)))) == [1010]
    room.answer(TAKEN)
    assert dates(room.hear(beat(405))) == [1005]


def test_an_epoch_that_is_filled_in_dates_what_waits_under_the_same_tag(room: Room) -> None:
    room.hear(beat(400))
    room.hear(beat(410))
    room.hear(Hello(TAG, LAYOUT, EPOCH + 500))
    assert dates(room.answer(TAKEN)) == [910]
    room.answer(TAKEN)
    assert dates(room.hear(beat(420))) == [920]


def test_an_epoch_that_is_filled_in_is_remembered_under_the_same_tag(room: Room) -> None:
    [remember] = only(room.hear(Hello(TAG, LAYOUT, EPOCH)), SaveHellos)
    assert [record.hello for record in remember.hellos] == [Hello(TAG, LAYOUT, EPOCH)]


def test_what_an_earlier_life_learnt_counts() -> None:
    room = Room()
    room.core.recall(DEVICE, [HelloRecord(CLOCKLESS, EPOCH + 100)])
    assert dates(room.hear(beat(400))) == [500]


def test_a_message_that_waited_for_its_hello_is_dated_by_its_arrival() -> None:
    room = Room()
    room.hear(beat(400))
    room.wait(4)
    room.hear(beat(404))
    assert dates(room.hear(CLOCKLESS)) == [1000, 1004]


def test_a_refused_merged_call_is_dated_alike_one_by_one(room: Room) -> None:
    room.hear(beat(400))
    room.hear(beat(410))
    room.hear(beat(500))
    room.answer(TAKEN)
    assert dates(room.answer(Rejected("no"))) == [910]
    assert dates(room.answer(TAKEN)) == [1000]


@pytest.mark.parametrize("time", [EPOCH + 1001, 2**62, 2**64 - 1])
def test_a_boot_before_1970_is_refused_and_spoils_nothing(room: Room, time: int) -> None:
    effects = room.hear(beat(time, seq=5))
    assert (codes(effects), calls(effects), only(effects, SaveHellos)) == ([(5, 4)], [], [])
    assert dates(room.hear(beat(400))) == [1000]


@pytest.mark.parametrize("epoch", [None, EPOCH + 7], ids=["lost", "another"])
def test_an_epoch_that_changes_under_its_tag_dates_what_follows_alone(epoch: int | None) -> None:
    room = Room()
    room.know(Hello(TAG, LAYOUT, EPOCH))
    room.hear(beat(5))
    room.hear(beat(5))
    room.hear(Hello(TAG, LAYOUT, epoch))
    assert dates(room.answer(TAKEN)) == [5]
    room.hear(beat(5))
    assert dates(room.answer(TAKEN)) == [1000 if epoch is None else 12]


def waiting(room: Room, *heartbeats: Heartbeat) -> None:
    """They wait, since the service fails for all."""
    room.core.widen(0, room.now)
    for heartbeat in heartbeats:
        assert only(room.hear(heartbeat), CallService) == []


def test_what_waited_is_checked_again_by_what_was_learnt_meanwhile(room: Room) -> None:
    """The second implies a boot in 1970: the first one's sample of 150 s before would be older than that."""
    waiting(room, beat(100, (1, 150), seq=1), beat(EPOCH + 990, 2, seq=2))
    effects = room.core.widen(9, room.now)
    assert codes(effects) == [(1, 4)]
    assert [when for call in calls(effects) for _, _, when in call.metrics] == [EPOCH + 1000]


def test_where_nothing_of_it_can_be_the_rest_goes_on(room: Room) -> None:
    waiting(room, beat(100, (1, 150), seq=1), beat(200, (1, 250), seq=2))
    effects = room.hear(Hello(TAG, LAYOUT, 20))
    assert codes(effects) == []
    effects = room.core.widen(9, room.now)
    assert codes(effects) == [(1, 4), (2, 4)]
    assert calls(effects) == []
    assert len(calls(room.hear(beat(300)))) == 1


def test_however_long_a_message_waits_it_is_dated_by_its_own_arrival(room: Room) -> None:
    waiting(room, beat(None, 1), beat(400, 2))
    room.wait(7 * 86_400)
    assert dates(room.core.widen(9, room.now)) == [1000, 1000]
