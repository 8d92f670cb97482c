"""Hellos: an unknown tag waits for its retained hello, 5 s from the broker's confirmation; the last four are kept."""

import pytest

from gateway.core.effects import DeadLetter, FetchRetainedHello, SaveHellos
from gateway.core.engine import Policy
from gateway.protocol.messages import Device, Get, Heartbeat, Hello, HelloRecord
from tests.support.engine import (
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    NEWER,
    OTHER,
    TAKEN,
    Room,
    calls,
    codes,
    kinds,
    only,
    settled,
)


def beat(tag: int, seq: int | None = None) -> Heartbeat:
    return Heartbeat(tag, 1, (tag,), seq=seq)


def tick(room: Room) -> list[tuple[int | None, int]]:
    """What is told when the alarm rings now."""
    return codes(room.core.tick(room.now))


def test_an_unknown_tag_makes_the_retained_hello_be_read_once() -> None:
    room = Room()
    assert room.hear(beat(1)) == [FetchRetainedHello(DEVICE)]
    assert room.hear(beat(1)) == room.hear(beat(2)) == []
    assert room.hear(beat(1), OTHER) == [FetchRetainedHello(OTHER)]


def test_the_hello_arrives_and_what_waited_is_one_call() -> None:
    room = Room()
    room.hear(beat(HELLO.tag))
    room.hear(beat(HELLO.tag))
    effects = room.hear(HELLO)
    assert kinds(effects) == ["SaveHellos", "Acknowledge", "CallService"]
    assert settled(effects) == [3]
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert settled(room.answer(TAKEN)) == [1, 2]
    assert room.core.deadline() is None


def test_a_known_tag_asks_nothing() -> None:
    room = Room()
    room.hear(HELLO)
    assert kinds(room.hear(beat(HELLO.tag))) == ["CallService"]


def test_the_wait_counts_from_the_brokers_confirmation() -> None:
    room = Room()
    room.know()
    room.hear(beat(1, seq=9))
    assert room.core.deadline() is None
    room.wait(60)
    assert tick(room) == []
    room.confirm()
    assert room.core.deadline() == room.mono + 5.0
    room.wait(4.9)
    assert tick(room) == []
    room.wait(0.1)
    effects = room.core.tick(room.now)
    assert kinds(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert codes(effects) == [(9, 2)]
    assert only(effects, DeadLetter)[0].detail == "no hello of tag 1"
    assert room.core.deadline() is None


def test_a_device_that_never_said_hello_waits_as_long() -> None:
    room = Room()
    room.hear(beat(1, seq=9))
    room.confirm()
    told = []
    for _ in range(20):
        assert room.core.deadline() is not None
        room.wait(0.25)
        told.append(tick(room))
    assert told == [[]] * 19 + [[(9, 2)]]


def test_a_second_confirmation_prolongs_nothing() -> None:
    room = Room()
    room.know()
    room.hear(beat(1, seq=9))
    room.confirm()
    room.wait(4)
    room.confirm()
    room.wait(1)
    assert tick(room) == [(9, 2)]


def test_a_confirmation_that_nobody_waits_for_is_no_matter() -> None:
    room = Room()
    room.confirm()
    assert (room.core.deadline(), tick(room)) == (None, [])


def test_the_wait_is_a_setting() -> None:
    room = Room(Policy(ask_registration=False, hello_wait=0.25))
    room.hear(beat(1, seq=9))
    room.confirm()
    room.wait(0.25)
    assert [*tick(room), *tick(room)] == [(9, 2)]


def test_only_the_unknown_tag_is_refused_and_the_rest_goes_on() -> None:
    room = Room()
    room.know()
    room.hear(beat(1, seq=1))
    room.hear(beat(HELLO.tag, seq=2))
    room.hear(Get(0, 3))
    room.confirm()
    room.wait(5)
    effects = room.core.tick(room.now)
    assert codes(effects) == [(1, 2)]
    assert settled(room.answer(TAKEN)) == [2]


def test_a_hello_of_another_tag_does_not_end_the_wait() -> None:
    room = Room()
    room.hear(beat(1, seq=1))
    room.confirm()
    assert calls(room.hear(HELLO)) == []
    room.wait(4.9)
    assert tick(room) == []
    assert [call.heartbeats for call in calls(room.hear(Hello(1, LAYOUT)))] == [1]


def test_after_code_2_the_device_publishes_hello_and_resends() -> None:
    room = Room()
    room.hear(beat(1, seq=1))
    room.confirm()
    room.wait(5)
    assert [*tick(room), *tick(room)] == [(1, 2)]
    room.hear(Hello(1, LAYOUT))
    room.hear(beat(1, seq=1))
    assert codes(room.answer(TAKEN)) == [(1, 0)]


def test_what_does_not_fit_the_hello_that_came_is_refused_then() -> None:
    room = Room()
    room.hear(Heartbeat(HELLO.tag, 1, (1, 2, 3), seq=5))
    effects = room.hear(HELLO)
    assert (codes(effects), settled(effects), calls(effects)) == ([(5, 1)], [2, 1], [])


@pytest.mark.parametrize(("tag", "understood"), [(1, False), (2, False), (3, True), (4, True), (5, True), (6, True)])
def test_the_last_four_tags_are_understood(tag: int, understood: bool) -> None:
    room = Room()
    for said in range(1, 7):
        effects = room.hear(Hello(said, LAYOUT, EPOCH))
        [remember] = only(effects, SaveHellos)
        assert [record.hello.tag for record in remember.hellos] == list(range(1, said + 1))[-4:]
    assert kinds(room.hear(beat(tag))) == (["CallService"] if understood else ["FetchRetainedHello"])


def test_a_tag_that_comes_again_is_the_newest() -> None:
    room = Room()
    for tag in (1, 2, 3, 4, 1, 5):
        effects = room.hear(Hello(tag, LAYOUT, EPOCH))
    assert [record.hello.tag for record in only(effects, SaveHellos)[0].hellos] == [3, 4, 1, 5]


def test_the_same_hello_again_is_only_settled() -> None:
    room = Room()
    room.hear(HELLO)
    assert kinds(room.hear(HELLO)) == ["Acknowledge"]


def test_layouts_are_kept_once_for_all_devices() -> None:
    room = Room()
    twin = Hello(1, type(LAYOUT)("1.0.0", tuple(LAYOUT.metrics), tuple(LAYOUT.models)), EPOCH)
    [first] = only(room.hear(HELLO), SaveHellos)
    [second] = only(room.hear(twin, OTHER), SaveHellos)
    assert twin.layout is not LAYOUT
    assert first.hellos[0].hello.layout is second.hellos[0].hello.layout


def test_what_an_earlier_life_remembered_is_understood() -> None:
    room = Room()
    room.core.recall(DEVICE, [HelloRecord(Hello(1, NEWER), 5000), HelloRecord(HELLO)])
    assert [call.agent_version for call in calls(room.hear(beat(1)))] == ["2.0.0"]
    room.answer(TAKEN)
    assert [call.agent_version for call in calls(room.hear(beat(HELLO.tag)))] == ["1.0.0"]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_new_connection_forgets_none_of_them(resumed: bool) -> None:
    room = Room()
    room.know()
    room.core.reconnected(1, resumed)
    assert kinds(room.hear(beat(HELLO.tag))) == ["CallService"]


def test_the_retained_hello_wins_over_what_is_remembered() -> None:
    """It filled in its epoch, and took other limits, while no gateway was there."""
    room = Room()
    room.core.recall(DEVICE, [HelloRecord(Hello(1, NEWER, EPOCH)), HelloRecord(Hello(HELLO.tag, LAYOUT), 5000)])
    [remember] = only(room.hear(HELLO), SaveHellos)
    assert [(record.hello.tag, record.epoch) for record in remember.hellos] == [(1, EPOCH), (HELLO.tag, EPOCH)]
    [call] = calls(room.hear(beat(HELLO.tag)))
    assert [when for _, _, when in call.metrics] == [EPOCH + 1]


# Many of one device


def flood(room: Room, count: int, device: Device = DEVICE) -> list[tuple[int | None, int]]:
    """Heartbeats of an unknown tag; what is told of them at once."""
    return [told for number in range(count) for told in codes(room.hear(beat(1, seq=number), device))]


def test_a_backlog_waits_until_the_broker_had_time_to_answer() -> None:
    room = Room()
    assert flood(room, 500) == []
    room.confirm()
    room.wait(0.4)
    assert flood(room, 500) == []
    assert [call.heartbeats for call in calls(room.hear(Hello(1, LAYOUT)))] == [100]


def test_then_only_a_few_of_a_device_wait_for_a_late_hello() -> None:
    room = Room()
    flood(room, 1)
    room.confirm()
    room.wait(0.5)
    assert flood(room, 20) == [(number, 2) for number in range(15, 20)]
    assert flood(room, 3, OTHER) == [], "that is no other device's matter"
    assert [call.heartbeats for call in calls(room.hear(Hello(1, LAYOUT)))] == [16]


def test_what_is_too_many_stands_on_dead_and_is_settled() -> None:
    room = Room()
    room.know()
    flood(room, 16)
    room.confirm()
    room.wait(0.5)
    effects = room.hear(beat(1, seq=9))
    assert kinds(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert settled(effects) == [17]
    assert kinds(room.hear(beat(HELLO.tag))) == [], "what is known waits behind, and is not refused"


@pytest.mark.parametrize("known", [True, False])
def test_where_all_others_wait_behind_them_waits_end_sooner(known: bool) -> None:
    room = Room()
    if known:
        room.know()
    room.hear(beat(1, seq=9))
    room.confirm()
    room.wait(0.4)
    assert codes(room.core.tick(room.now, pressed=True)) == []
    room.wait(0.1)
    told = [*codes(room.core.tick(room.now, pressed=True)), *codes(room.core.tick(room.now, pressed=True))]
    assert told == [(9, 2)]


def test_a_tag_whose_layout_changed_means_the_new_one() -> None:
    room = Room()
    room.hear(HELLO)
    room.hear(Hello(HELLO.tag, NEWER, EPOCH))
    assert [call.agent_version for call in calls(room.hear(beat(HELLO.tag)))] == ["2.0.0"]
