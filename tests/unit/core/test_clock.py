"""The wall clock is set, or cannot be right: what was dated by it follows, and nothing is dated meanwhile."""

from typing import Any

import pytest

from gateway.core.clock import RELEASED
from gateway.core.effects import Effect, ReportClock, SaveHellos
from gateway.errors import DecodeError
from gateway.protocol.messages import Get, Heartbeat, Hello, HelloRecord, Read
from gateway.protocol.service_calls import GetDeployments, RetryLater
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    EngineHarness,
    Token,
    acknowledged,
    calls,
    codes,
    long_payload,
    of_type,
)

TAG = 815
CLOCKLESS = Hello(TAG, LAYOUT)
CLOCK = EPOCH + 900.0
"""The harness's wall clock less its monotonic one."""
BOOTED = EPOCH + 600


def heartbeat(time: int | None, *values: Any, seq: int | None = None, tag: int = TAG) -> Heartbeat:
    return Heartbeat(tag, time, values or (1,), seq=seq)


def dates(effects: list[Effect]) -> list[int]:
    """Seconds since EPOCH at which the samples of the calls are dated."""
    return [at - EPOCH for call in calls(effects) for _, _, at in call.metrics]


@pytest.fixture
def harness() -> EngineHarness:
    """It is EPOCH + 1000, and the hello of a device without a clock is known."""
    harness = EngineHarness()
    harness.restore_hello(CLOCKLESS)
    return harness


@pytest.fixture
def wrong(harness: EngineHarness) -> EngineHarness:
    """The same, and it is 1970, or so it seems."""
    harness.wall = harness.mono
    assert harness.engine.check_clock(harness.now) == [ReportClock(0, True, 0)]
    assert harness.engine.clock_is_wrong
    return harness


# A step


@pytest.mark.parametrize("step", [7200, -7200, 2])
def test_an_inferred_epoch_follows_a_step(harness: EngineHarness, step: int) -> None:
    assert dates(harness.receive(heartbeat(400))) == [1000]
    harness.resolve(ACCEPTED)
    harness.wait(10)
    harness.wall += step
    effects = harness.receive(heartbeat(410))
    assert effects[0] == ReportClock(step, False, 0)
    assert dates(effects) == [1010 + step]
    assert of_type(effects, SaveHellos) == []


def test_what_drifts_is_followed_in_whole_seconds_and_adds_up(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    for _ in range(10):
        harness.wall += 0.75
        harness.engine.check_clock(harness.now)
    assert dates(harness.receive(heartbeat(300))) == [900 + 8]


def test_what_waits_and_what_is_in_flight_is_dated_anew(harness: EngineHarness) -> None:
    assert dates(harness.receive(heartbeat(400))) == [1000]
    harness.receive(heartbeat(None, 2))
    harness.receive(heartbeat(390, 3, seq=7))
    harness.receive(Get(None, 1))
    harness.receive(heartbeat(5, 4, tag=HELLO.tag))
    harness.wall += 50
    assert dates(harness.resolve(RetryLater(only_this_device=False))) == [1050, 1050, 1040]


def test_an_epoch_that_the_device_gave_does_not_follow(harness: EngineHarness) -> None:
    harness.receive(Hello(TAG, LAYOUT, EPOCH + 5))
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.wall += 7200
    assert dates(harness.receive(heartbeat(400))) == [405]


@pytest.mark.parametrize(("epoch", "follows"), [(BOOTED, True), (BOOTED - 15, True), (BOOTED - 16, False)])
def test_an_epoch_that_the_device_took_from_an_ack_follows(harness: EngineHarness, epoch: int, follows: bool) -> None:
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.receive(Hello(TAG, LAYOUT, epoch))
    assert dates(harness.receive(heartbeat(400))) == [400 + epoch - EPOCH]
    harness.resolve(ACCEPTED)
    harness.wall += 7200
    effects = harness.receive(heartbeat(401))
    assert dates(effects) == [401 + epoch - EPOCH + 7200 * follows]
    harness.resolve(ACCEPTED)
    harness.receive(Hello(TAG, LAYOUT, epoch))
    assert dates(harness.receive(heartbeat(401))) == [401 + epoch - EPOCH + 7200 * follows]


def test_such_an_epoch_is_not_later_than_its_messages_imply(harness: EngineHarness) -> None:
    """The machine was paused, and its clock was right before."""
    harness.receive(heartbeat(400))
    harness.resolve(ACCEPTED)
    harness.receive(Hello(TAG, LAYOUT, BOOTED - 5))
    harness.wall += 7200
    effects = harness.receive(heartbeat(400 + 7200))
    assert dates(effects) == [1000 + 7200]
    assert of_type(effects, SaveHellos)[0].hellos == (
        HelloRecord(Hello(TAG, LAYOUT, BOOTED - 5), BOOTED, CLOCK + 7200),
    )


def test_what_an_earlier_run_inferred_in_this_boot_is_moved_at_the_start() -> None:
    harness = EngineHarness()
    saved = HelloRecord(CLOCKLESS, BOOTED - 7200, CLOCK - 7200.4), HelloRecord(Hello(TAG + 1, LAYOUT), BOOTED - 50)
    harness.engine.restore_hellos(DEVICE, saved)
    assert harness.engine.check_clock(harness.now) == []
    assert dates(harness.receive(heartbeat(400))) == [1000]
    harness.resolve(ACCEPTED)
    assert dates(harness.receive(heartbeat(400, tag=TAG + 1))) == [950], "of another boot: nothing is known"


EIGHT_IN_AN_HOUR = 514.5
"""Seconds between two."""


def after_a_reboot(saved: HelloRecord, delays: list[int]) -> tuple[list[int], HelloRecord | None]:
    """A message after each eighth of an hour, that waited so long: by how much they are misdated; what is saved."""
    harness = EngineHarness()
    harness.engine.restore_hellos(DEVICE, [saved])
    errors: list[int] = []
    remembered: HelloRecord | None = None
    for delay in delays:
        effects = harness.receive(heartbeat(int(harness.wall) - BOOTED - delay))
        [date] = dates(effects)
        errors.append(date - (int(harness.wall) - EPOCH - delay))
        for effect in of_type(effects, SaveHellos):
            remembered = effect.hellos[-1]
        harness.resolve(ACCEPTED)
        harness.wait(EIGHT_IN_AN_HOUR)
    return errors, remembered


@pytest.mark.parametrize("hello", [CLOCKLESS, Hello(TAG, LAYOUT, BOOTED - 7200)], ids=["inferred", "from an ack"])
def test_an_epoch_that_another_boot_inferred_wrongly_is_found_within_an_hour(hello: Hello) -> None:
    errors, saved = after_a_reboot(HelloRecord(hello, BOOTED - 7200), [0, 50, 300, 9, 3, 2, 7, 40, 0])
    assert errors[:7] == [-7200] * 7
    assert all(0 <= error <= 1 for error in errors[7:])
    assert saved is not None
    assert (saved.epoch, saved.clock) == (BOOTED, CLOCK)


def test_one_that_is_right_is_kept_while_messages_wait_and_follows_from_then_on() -> None:
    errors, saved = after_a_reboot(HelloRecord(CLOCKLESS, BOOTED), [5000, 4000, 3000, 2000, 1000, 500, 100, 10])
    assert errors == [0] * 8
    assert saved == HelloRecord(CLOCKLESS, BOOTED, CLOCK)


def test_a_stopped_engine_reports_nothing(harness: EngineHarness) -> None:
    harness.engine.check_clock(harness.now)
    harness.engine.stop()
    harness.wall += 7200
    assert harness.engine.check_clock(harness.now) == []


# A clock that cannot be right


def test_while_the_clock_is_wrong_everything_but_hellos_is_held(wrong: EngineHarness) -> None:
    assert wrong.receive(heartbeat(400, seq=1)) == []
    assert wrong.receive(Get(None, 2)) == []
    assert wrong.receive(Read(5, 0, 0, 100)) == []
    assert wrong.engine.reject(Token(90), DecodeError("bad", 3), wrong.now, DEVICE) == []
    assert wrong.engine.reject(Token(91), DecodeError("bad"), wrong.now, DEVICE) == []
    assert acknowledged(wrong.receive(Hello(TAG + 1, LAYOUT))) == [4]
    wrong.wait(100)
    assert wrong.engine.check_clock(wrong.now) == []
    wrong.wall += CLOCK + 7200
    effects = wrong.engine.check_clock(wrong.now)
    assert effects[0] == ReportClock(0, False, 5)
    assert not wrong.engine.clock_is_wrong
    assert dates(effects) == [1000 + 7200]
    assert (codes(effects), acknowledged(effects)) == ([(3, 1), (None, 1)], [3, 90, 91])
    assert all(effect.ack.time == EPOCH + 8300 for effect in effects if hasattr(effect, "ack"))
    effects = wrong.resolve(ACCEPTED)
    assert (codes(effects), acknowledged(effects)) == ([(1, 0)], [1])
    assert calls(effects) == [GetDeployments(DEVICE, retryable=False)]


def test_a_long_heartbeat_is_held_as_its_payload(wrong: EngineHarness) -> None:
    message = heartbeat(400)
    wrong.receive(message, payload=long_payload(message))
    wrong.wall += CLOCK
    assert dates(wrong.engine.check_clock(wrong.now)) == [1000]


def test_what_the_gateway_fails_on_is_rejected_and_what_is_held_behind_it_is_taken(wrong: EngineHarness) -> None:
    """Such a message can only come of a defect in a decoder."""
    wrong.receive(heartbeat(100, seq=1))
    wrong.receive(heartbeat(100, "text", seq=2))
    wrong.receive(heartbeat(100, seq=3))
    wrong.wall = EPOCH + 1000.0
    effects = wrong.engine.check_clock(wrong.now)
    assert (codes(effects), acknowledged(effects)) == ([(None, 4)], [2])
    effects += wrong.resolve(ACCEPTED)
    effects += wrong.resolve(ACCEPTED)
    assert acknowledged(effects) == [2, 1, 3]


def test_a_clock_that_becomes_wrong_changes_no_date_and_no_ack(harness: EngineHarness) -> None:
    harness.receive(heartbeat(400, seq=1))
    harness.receive(heartbeat(410, seq=2))
    harness.wall = harness.mono
    effects = harness.resolve(ACCEPTED)
    assert effects[0] == ReportClock(0, True, 0)
    assert dates(effects) == [1000]
    assert [effect.ack.time - EPOCH for effect in effects if hasattr(effect, "ack")] == [1000]
    assert harness.receive(heartbeat(420)) == []
    harness.wait(30)
    harness.wall += CLOCK
    effects = harness.resolve(ACCEPTED)
    assert effects[0] == ReportClock(0, False, 1)
    assert dates(effects) == [1000]


def test_what_the_broker_delivers_again_is_held_once(wrong: EngineHarness) -> None:
    wrong.connection = 1
    wrong.engine.reconnected(1, False, wrong.now)
    wrong.receive(heartbeat(400))
    effects = wrong.engine.reconnected(2, True, wrong.now)
    assert acknowledged(effects) == [1]
    wrong.connection = 2
    wrong.receive(heartbeat(400, 2))
    assert wrong.engine.reconnected(3, False, wrong.now) == []
    wrong.wall += CLOCK
    assert dates(wrong.engine.check_clock(wrong.now)) == [1000]


@pytest.mark.parametrize(("wall", "is_wrong"), [(RELEASED - 1, True), (RELEASED, False)])
def test_before_its_release_this_version_cannot_run(wall: int, is_wrong: bool) -> None:
    harness = EngineHarness(wall=wall)
    harness.engine.check_clock(harness.now)
    assert harness.engine.clock_is_wrong is is_wrong
