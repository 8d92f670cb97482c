"""Hellos: an unknown tag waits for its retained hello, 5 s from the SUBACK; the last four are kept."""

import pytest

from gateway.core.effects import DeadLetter, FetchRetainedHello, SaveHellos
from gateway.core.engine import Policy
from gateway.errors import Code
from gateway.protocol.messages import Device, Get, Heartbeat, Hello, HelloRecord, Layout, Metric
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    NEWER,
    OTHER,
    EngineHarness,
    acknowledged,
    calls,
    codes,
    of_type,
    type_names,
)


def heartbeat(tag: int, seq: int | None = None) -> Heartbeat:
    return Heartbeat(tag, 1, (tag,), seq=seq)


def tick(harness: EngineHarness) -> list[tuple[int | None, int]]:
    """The acks when the deadline is now."""
    return codes(harness.engine.tick(harness.now))


def test_an_unknown_tag_fetches_the_retained_hello_once() -> None:
    harness = EngineHarness()
    assert harness.receive(heartbeat(1)) == [FetchRetainedHello(DEVICE)]
    assert harness.receive(heartbeat(1)) == harness.receive(heartbeat(2)) == []
    assert harness.receive(heartbeat(1), OTHER) == [FetchRetainedHello(OTHER)]


def test_the_hello_arrives_and_what_waited_is_one_call() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(HELLO.tag))
    harness.receive(heartbeat(HELLO.tag))
    effects = harness.receive(HELLO)
    assert type_names(effects) == ["SaveHellos", "Acknowledge", "CallService"]
    assert acknowledged(effects) == [3]
    assert [call.heartbeats for call in calls(effects)] == [2]
    assert acknowledged(harness.resolve(ACCEPTED)) == [1, 2]
    assert harness.engine.deadline() is None


def test_a_known_tag_fetches_nothing() -> None:
    harness = EngineHarness()
    harness.receive(HELLO)
    assert type_names(harness.receive(heartbeat(HELLO.tag))) == ["CallService"]


def test_the_wait_counts_from_the_suback() -> None:
    harness = EngineHarness()
    harness.restore_hello()
    harness.receive(heartbeat(1, seq=9))
    assert harness.engine.deadline() is None
    harness.wait(60)
    assert tick(harness) == []
    harness.suback()
    assert harness.engine.deadline() == harness.mono + 5.0
    harness.wait(4.9)
    assert tick(harness) == []
    harness.wait(0.1)
    effects = harness.engine.tick(harness.now)
    assert type_names(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert codes(effects) == [(9, 2)]
    assert of_type(effects, DeadLetter)[0].detail == "no hello of tag 1"
    assert harness.engine.deadline() is None


def test_a_device_without_any_hello_waits_as_long() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(1, seq=9))
    harness.suback()
    acks = []
    for _ in range(20):
        assert harness.engine.deadline() is not None
        harness.wait(0.25)
        acks.append(tick(harness))
    assert acks == [[]] * 19 + [[(9, 2)]]


def test_a_second_suback_prolongs_nothing() -> None:
    harness = EngineHarness()
    harness.restore_hello()
    harness.receive(heartbeat(1, seq=9))
    harness.suback()
    harness.wait(4)
    harness.suback()
    harness.wait(1)
    assert tick(harness) == [(9, 2)]


def test_a_suback_that_no_message_waits_for_does_nothing() -> None:
    harness = EngineHarness()
    harness.suback()
    assert (harness.engine.deadline(), tick(harness)) == (None, [])


def test_the_wait_is_a_setting() -> None:
    harness = EngineHarness(Policy(ask_registration=False, hello_wait=0.25))
    harness.receive(heartbeat(1, seq=9))
    harness.suback()
    harness.wait(0.25)
    assert [*tick(harness), *tick(harness)] == [(9, 2)]


def test_only_the_unknown_tag_is_rejected_and_the_rest_goes_on() -> None:
    harness = EngineHarness()
    harness.restore_hello()
    harness.receive(heartbeat(1, seq=1))
    harness.receive(heartbeat(HELLO.tag, seq=2))
    harness.receive(Get(0, 3))
    harness.suback()
    harness.wait(5)
    effects = harness.engine.tick(harness.now)
    assert codes(effects) == [(1, 2)]
    assert acknowledged(harness.resolve(ACCEPTED)) == [2]


def test_a_hello_of_another_tag_does_not_end_the_wait() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(1, seq=1))
    harness.suback()
    assert calls(harness.receive(HELLO)) == []
    harness.wait(4.9)
    assert tick(harness) == []
    assert [call.heartbeats for call in calls(harness.receive(Hello(1, LAYOUT)))] == [1]


def test_after_code_2_the_device_publishes_hello_and_resends() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(1, seq=1))
    harness.suback()
    harness.wait(5)
    assert [*tick(harness), *tick(harness)] == [(1, 2)]
    harness.receive(Hello(1, LAYOUT))
    harness.receive(heartbeat(1, seq=1))
    assert codes(harness.resolve(ACCEPTED)) == [(1, 0)]


def test_what_does_not_fit_the_hello_that_came_is_rejected_then() -> None:
    harness = EngineHarness()
    harness.receive(Heartbeat(HELLO.tag, 1, (1, 2, 3), seq=5))
    effects = harness.receive(HELLO)
    assert (codes(effects), acknowledged(effects), calls(effects)) == ([(5, 1)], [2, 1], [])


@pytest.mark.parametrize(("tag", "understood"), [(1, False), (2, False), (3, True), (4, True), (5, True), (6, True)])
def test_the_last_four_tags_are_understood(tag: int, understood: bool) -> None:
    harness = EngineHarness()
    for number in range(1, 7):
        effects = harness.receive(Hello(number, LAYOUT, EPOCH))
        [remember] = of_type(effects, SaveHellos)
        assert [record.hello.tag for record in remember.hellos] == list(range(1, number + 1))[-4:]
    assert type_names(harness.receive(heartbeat(tag))) == (["CallService"] if understood else ["FetchRetainedHello"])


def test_a_tag_that_is_published_again_is_the_newest() -> None:
    harness = EngineHarness()
    for tag in (1, 2, 3, 4, 1, 5):
        effects = harness.receive(Hello(tag, LAYOUT, EPOCH))
    assert [record.hello.tag for record in of_type(effects, SaveHellos)[0].hellos] == [3, 4, 1, 5]


def test_the_same_hello_again_is_only_acknowledged() -> None:
    harness = EngineHarness()
    harness.receive(HELLO)
    assert type_names(harness.receive(HELLO)) == ["Acknowledge"]


def test_layouts_are_kept_once_for_all_devices() -> None:
    harness = EngineHarness()
    twin = Hello(1, type(LAYOUT)("1.0.0", tuple(LAYOUT.metrics), tuple(LAYOUT.models)), EPOCH)
    [first] = of_type(harness.receive(HELLO), SaveHellos)
    [second] = of_type(harness.receive(twin, OTHER), SaveHellos)
    assert twin.layout is not LAYOUT
    assert first.hellos[0].hello.layout is second.hellos[0].hello.layout


def test_hellos_of_an_earlier_run_are_known() -> None:
    harness = EngineHarness()
    harness.engine.restore_hellos(DEVICE, [HelloRecord(Hello(1, NEWER), 5000), HelloRecord(HELLO)])
    assert [call.agent_version for call in calls(harness.receive(heartbeat(1)))] == ["2.0.0"]
    harness.resolve(ACCEPTED)
    assert [call.agent_version for call in calls(harness.receive(heartbeat(HELLO.tag)))] == ["1.0.0"]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_new_connection_drops_no_hello(resumed: bool) -> None:
    harness = EngineHarness()
    harness.restore_hello()
    harness.engine.reconnected(1, resumed, harness.now)
    assert type_names(harness.receive(heartbeat(HELLO.tag))) == ["CallService"]


def test_the_retained_hello_replaces_the_saved_one() -> None:
    """It filled in its epoch, and took other limits, while no gateway was there."""
    harness = EngineHarness()
    harness.engine.restore_hellos(
        DEVICE, [HelloRecord(Hello(1, NEWER, EPOCH)), HelloRecord(Hello(HELLO.tag, LAYOUT), 5000)]
    )
    [remember] = of_type(harness.receive(HELLO), SaveHellos)
    assert [(record.hello.tag, record.epoch) for record in remember.hellos] == [(1, EPOCH), (HELLO.tag, EPOCH)]
    [call] = calls(harness.receive(heartbeat(HELLO.tag)))
    assert [when for _, _, when in call.metrics] == [EPOCH + 1]


# Many of one device


def flood(harness: EngineHarness, count: int, device: Device = DEVICE) -> list[tuple[int | None, int]]:
    """Heartbeats of an unknown tag, and the acks that they get at once."""
    return [ack for number in range(count) for ack in codes(harness.receive(heartbeat(1, seq=number), device))]


def test_a_backlog_waits_until_a_retained_hello_would_be_here() -> None:
    harness = EngineHarness()
    assert flood(harness, 500) == []
    harness.suback()
    harness.wait(0.4)
    assert flood(harness, 500) == []
    assert [call.heartbeats for call in calls(harness.receive(Hello(1, LAYOUT)))] == [100]


def test_after_the_retained_wait_only_a_few_heartbeats_of_a_device_wait() -> None:
    harness = EngineHarness()
    flood(harness, 1)
    harness.suback()
    harness.wait(0.5)
    assert flood(harness, 20) == [(number, 2) for number in range(15, 20)]
    assert flood(harness, 3, OTHER) == [], "that is no other device's matter"
    assert [call.heartbeats for call in calls(harness.receive(Hello(1, LAYOUT)))] == [16]


def test_what_is_too_many_gets_a_dead_letter_and_an_acknowledgement() -> None:
    harness = EngineHarness()
    harness.restore_hello()
    flood(harness, 16)
    harness.suback()
    harness.wait(0.5)
    effects = harness.receive(heartbeat(1, seq=9))
    assert type_names(effects) == ["PublishAck", "DeadLetter", "Acknowledge"]
    assert acknowledged(effects) == [17]
    assert type_names(harness.receive(heartbeat(HELLO.tag))) == [], "what is known waits behind, and is not rejected"


def awaited_in_vain(tag: int = 1) -> EngineHarness:
    """Nobody has sent the hello of this tag."""
    harness = EngineHarness()
    await_in_vain(harness, tag)
    return harness


def await_in_vain(harness: EngineHarness, tag: int, under_pressure: bool = False) -> None:
    assert of_type(harness.receive(heartbeat(tag, seq=0)), FetchRetainedHello)
    harness.suback()
    harness.wait(0.5 if under_pressure else 5)
    for _ in range(2):  # the wait for the limits of a plan, and that for the tag
        effects = harness.engine.tick(harness.now, under_pressure)
    assert codes(effects) in ([(0, 2)], [])


@pytest.mark.parametrize("under_pressure", [True, False])
def test_after_a_wait_in_vain_nothing_waits_for_that_hello(under_pressure: bool) -> None:
    """A flood would hold the others' messages for each wait."""
    harness = EngineHarness()
    await_in_vain(harness, 1, under_pressure)
    assert flood(harness, 3) == [(number, 2) for number in range(3)]
    assert harness.engine.deadline() is None
    assert flood(harness, 3, OTHER) == [], "that is no other device's matter"
    assert harness.receive(heartbeat(2)) == [FetchRetainedHello(DEVICE)], "nor another tag's"
    assert flood(harness, 1) == [(0, 2)]
    (call,) = calls(harness.receive(Hello(2, LAYOUT)))
    assert call.heartbeats == 1


def test_a_hello_that_comes_after_a_wait_in_vain_is_taken() -> None:
    harness = awaited_in_vain()
    harness.receive(Hello(1, LAYOUT))
    assert [call.heartbeats for call in calls(harness.receive(heartbeat(1)))] == [1]


def test_a_minute_after_a_wait_in_vain_the_broker_is_asked_again() -> None:
    """It may have dropped on the way to the gateway what it retains."""
    harness = awaited_in_vain()
    harness.wait(59.9)
    assert flood(harness, 1) == [(0, 2)]
    harness.wait(0.1)
    await_in_vain(harness, 1)
    assert flood(harness, 1) == [(0, 2)]


def test_a_wait_in_vain_for_another_tag_does_not_prolong_that_minute() -> None:
    harness = awaited_in_vain()
    harness.wait(50)
    await_in_vain(harness, 2)
    harness.wait(5)
    assert harness.receive(heartbeat(1)) == [FetchRetainedHello(DEVICE)]
    assert codes(harness.receive(heartbeat(2, seq=7))) == [(7, 2)]


@pytest.mark.parametrize("resumed", [True, False])
def test_after_a_reconnect_the_broker_is_asked_again(resumed: bool) -> None:
    harness = awaited_in_vain()
    harness.engine.reconnected(2, resumed, harness.now)
    assert harness.receive(heartbeat(1)) == [FetchRetainedHello(DEVICE)]


def test_a_device_that_takes_other_tags_makes_four_waits_at_most() -> None:
    harness = EngineHarness()
    for tag in range(4):
        await_in_vain(harness, tag)
    assert codes(harness.receive(heartbeat(4, seq=9))) == [(9, 2)]
    harness.wait(60)
    assert harness.receive(heartbeat(4)) == [FetchRetainedHello(DEVICE)]


@pytest.mark.parametrize("known", [True, False])
def test_under_pressure_waits_end_sooner(known: bool) -> None:
    harness = EngineHarness()
    if known:
        harness.restore_hello()
    harness.receive(heartbeat(1, seq=9))
    harness.suback()
    harness.wait(0.4)
    assert codes(harness.engine.tick(harness.now, under_pressure=True)) == []
    harness.wait(0.1)
    acks = [
        *codes(harness.engine.tick(harness.now, under_pressure=True)),
        *codes(harness.engine.tick(harness.now, under_pressure=True)),
    ]
    assert acks == [(9, 2)]


def test_a_tag_whose_layout_changed_means_the_new_one() -> None:
    harness = EngineHarness()
    harness.receive(HELLO)
    harness.receive(Hello(HELLO.tag, NEWER, EPOCH))
    assert [call.agent_version for call in calls(harness.receive(heartbeat(HELLO.tag)))] == ["2.0.0"]


def test_the_hellos_of_all_devices_can_be_saved_again() -> None:
    harness = EngineHarness()
    harness.receive(HELLO)
    harness.receive(Hello(9, NEWER))
    harness.receive(heartbeat(1), OTHER)
    assert harness.engine.hellos() == {DEVICE: (HelloRecord(HELLO), HelloRecord(Hello(9, NEWER)))}


def large_layout(version: str, metrics: int = 65) -> Layout:
    return Layout(version, tuple(Metric("sys", f"metric-{number}") for number in range(metrics)), ())


def test_what_waits_under_a_large_layout_that_was_replaced_is_rejected() -> None:
    """A few bytes of payload would keep a megabyte each in memory, as often as the device sends another hello."""
    harness = EngineHarness()
    harness.receive(heartbeat(0))
    harness.receive(Hello(0, LAYOUT, EPOCH))  # the call in flight, behind which the others wait
    harness.receive(Hello(1, large_layout("1.0"), EPOCH))
    harness.receive(heartbeat(1, seq=11))
    harness.receive(Get(None, 5))
    harness.receive(Hello(2, large_layout("2.0"), EPOCH))
    harness.receive(heartbeat(2, seq=12))
    for tag in (3, 4):
        assert codes(harness.receive(Hello(tag, LAYOUT, EPOCH))) == []
    effects = harness.receive(Hello(5, LAYOUT, EPOCH))
    assert codes(effects) == [(11, Code.UNKNOWN_TAG)]
    assert [each.detail for each in of_type(effects, DeadLetter)] == ["hello of tag 1: replaced"]
    effects = harness.receive(Hello(2, large_layout("2.1"), EPOCH))
    assert codes(effects) == [(12, Code.UNKNOWN_TAG)], "the same tag with another layout"


def test_what_waits_under_a_layout_of_a_usual_size_is_sent() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(0))
    harness.receive(Hello(0, LAYOUT, EPOCH))
    harness.receive(Hello(1, large_layout("1.0", 64), EPOCH))
    harness.receive(heartbeat(1, seq=11))
    for tag in range(2, 8):
        assert codes(harness.receive(Hello(tag, LAYOUT, EPOCH))) == []
    (call,) = calls(harness.resolve(ACCEPTED))
    assert call.agent_version == "1.0"
