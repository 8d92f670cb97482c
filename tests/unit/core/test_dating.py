"""Devices without a clock: the earliest epoch that a tag's messages imply, until a hello fills it in."""

from typing import Any

import pytest

from gateway.core.effects import CallService, Effect, SaveHellos
from gateway.protocol.messages import Heartbeat, Hello, HelloRecord
from gateway.protocol.service_calls import Rejected
from tests.support.engine import ACCEPTED, DEVICE, EPOCH, LAYOUT, EngineHarness, calls, codes, of_type

TAG = 815
CLOCKLESS = Hello(TAG, LAYOUT)
CLOCK = EPOCH + 900.0
"""The harness's wall clock less its monotonic one."""


@pytest.fixture
def harness() -> EngineHarness:
    """It is EPOCH + 1000, and the hello of a device without a clock is known."""
    harness = EngineHarness()
    harness.restore_hello(CLOCKLESS)
    return harness


def heartbeat(time: int | None, *values: Any, seq: int | None = None) -> Heartbeat:
    return Heartbeat(TAG, time, values or (1,), seq=seq)


def dates(effects: list[Effect]) -> list[int]:
    """Seconds since EPOCH at which the samples of the calls are dated."""
    return [at - EPOCH for call in calls(effects) for _, _, at in call.metrics]


def test_the_first_message_is_dated_at_its_arrival(harness: EngineHarness) -> None:
    effects = harness.receive(heartbeat(400))
    assert dates(effects) == [1000]
    [remember] = of_type(effects, SaveHellos)
    assert remember.hellos == (HelloRecord(CLOCKLESS, EPOCH + 600, CLOCK),)


def test_a_message_that_waited_is_not_dated_late(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.wait(500)
    effects = harness.receive(heartbeat(450))
    assert dates(effects) == [1050]
    assert of_type(effects, SaveHellos) == []


def test_a_message_that_waited_less_moves_the_epoch_which_is_saved(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.wait(50)
    effects = harness.receive(heartbeat(460))
    assert dates(effects) == [1050]
    [remember] = of_type(effects, SaveHellos)
    assert remember.hellos[0].inferred_epoch == EPOCH + 590


def test_what_waits_is_dated_by_the_epoch_that_is_known_when_it_is_sent(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.receive(heartbeat(410))
    harness.receive(heartbeat(500))
    assert dates(harness.resolve(ACCEPTED)) == [910, 1000]


def test_a_message_without_a_time_implies_no_epoch(harness: EngineHarness) -> None:
    effects = harness.receive(heartbeat(None))
    assert dates(effects) == [1000]
    assert of_type(effects, SaveHellos) == []


def test_each_boot_has_its_tag_and_its_epoch(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.receive(Hello(TAG + 1, LAYOUT))
    harness.wait(10)
    assert dates(harness.receive(Heartbeat(TAG + 1, 3, (1,)))) == [1010]
    harness.resolve(ACCEPTED)
    assert dates(harness.receive(heartbeat(405))) == [1005]


def test_an_epoch_that_is_filled_in_dates_what_waits_under_the_same_tag(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.receive(heartbeat(410))
    harness.receive(Hello(TAG, LAYOUT, EPOCH + 500))
    assert dates(harness.resolve(ACCEPTED)) == [910]
    harness.resolve(ACCEPTED)
    assert dates(harness.receive(heartbeat(420))) == [920]


def test_an_epoch_that_is_filled_in_is_saved_under_the_same_tag(harness: EngineHarness) -> None:
    [remember] = of_type(harness.receive(Hello(TAG, LAYOUT, EPOCH)), SaveHellos)
    assert [record.hello for record in remember.hellos] == [Hello(TAG, LAYOUT, EPOCH)]


def test_an_epoch_of_an_earlier_run_is_used() -> None:
    harness = EngineHarness()
    harness.engine.restore_hellos(DEVICE, [HelloRecord(CLOCKLESS, EPOCH + 100)])
    assert dates(harness.receive(heartbeat(400))) == [500]


def test_a_message_that_waited_for_its_hello_is_dated_by_its_arrival() -> None:
    harness = EngineHarness()
    harness.receive(heartbeat(400))
    harness.wait(4)
    harness.receive(heartbeat(404))
    assert dates(harness.receive(CLOCKLESS)) == [1000, 1004]


def test_a_rejected_merged_call_keeps_its_dates_one_by_one(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.receive(heartbeat(410))
    harness.receive(heartbeat(500))
    harness.resolve(ACCEPTED)
    assert dates(harness.resolve(Rejected("no"))) == [910]
    assert dates(harness.resolve(ACCEPTED)) == [1000]


@pytest.mark.parametrize("time", [EPOCH + 1001, 2**62, 2**64 - 1])
def test_a_boot_before_1970_is_rejected_and_changes_no_epoch(harness: EngineHarness, time: int) -> None:
    effects = harness.receive(heartbeat(time, seq=5))
    assert (codes(effects), calls(effects), of_type(effects, SaveHellos)) == ([(5, 4)], [], [])
    assert dates(harness.receive(heartbeat(400))) == [1000]


@pytest.mark.parametrize("epoch", [None, EPOCH + 7], ids=["lost", "another"])
def test_an_epoch_that_changes_under_its_tag_dates_what_follows_alone(epoch: int | None) -> None:
    harness = EngineHarness()
    harness.restore_hello(Hello(TAG, LAYOUT, EPOCH))
    harness.receive(heartbeat(5))
    harness.receive(heartbeat(5))
    harness.receive(Hello(TAG, LAYOUT, epoch))
    assert dates(harness.resolve(ACCEPTED)) == [5]
    harness.receive(heartbeat(5))
    assert dates(harness.resolve(ACCEPTED)) == [1000 if epoch is None else 12]


def waiting(harness: EngineHarness, *heartbeats: Heartbeat) -> None:
    """They wait, since the service fails for all."""
    harness.engine.set_concurrency(0, harness.now)
    for each in heartbeats:
        assert of_type(harness.receive(each), CallService) == []


def test_what_waited_is_checked_again_by_an_epoch_that_changed(harness: EngineHarness) -> None:
    """The second implies a boot in 1970: the first one's sample of 150 s before would be older than that."""
    waiting(harness, heartbeat(100, (1, 150), seq=1), heartbeat(EPOCH + 990, 2, seq=2))
    effects = harness.engine.set_concurrency(9, harness.now)
    assert codes(effects) == [(1, 4)]
    assert [when for call in calls(effects) for _, _, when in call.metrics] == [EPOCH + 1000]


def test_a_batch_that_is_rejected_whole_does_not_stop_the_next(harness: EngineHarness) -> None:
    waiting(harness, heartbeat(100, (1, 150), seq=1), heartbeat(200, (1, 250), seq=2))
    effects = harness.receive(Hello(TAG, LAYOUT, 20))
    assert codes(effects) == []
    effects = harness.engine.set_concurrency(9, harness.now)
    assert codes(effects) == [(1, 4), (2, 4)]
    assert calls(effects) == []
    assert len(calls(harness.receive(heartbeat(300)))) == 1


def test_however_long_a_message_waits_it_is_dated_by_its_own_arrival(harness: EngineHarness) -> None:
    waiting(harness, heartbeat(None, 1), heartbeat(400, 2))
    harness.wait(7 * 86_400)
    assert dates(harness.engine.set_concurrency(9, harness.now)) == [1000, 1000]
