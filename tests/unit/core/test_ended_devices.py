"""A device that is deregistered, or registered anew: who asks for it, and what follows for what the broker keeps."""

from typing import Any

import pytest

from gateway.core import DeleteRetained, PublishPlan, SaveRegistration
from gateway.core.engine import MOST_EXAMINED, Policy
from gateway.core.registration import DOUBTED_AFTER
from gateway.errors import Code
from gateway.protocol import (
    Accepted,
    Cancelled,
    Device,
    Get,
    GetDeployments,
    GetDeviceRegistration,
    Heartbeat,
    Registration,
    Rejected,
    RetryLater,
    SendHeartbeat,
)
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    HELLO,
    OTHER,
    REGISTERED,
    EngineHarness,
    acknowledged,
    calls,
    codes,
    of_type,
    plan,
    type_names,
)

HEARTBEAT = Heartbeat(HELLO.tag, 1, seq=7)
NOT_REGISTERED = Accepted(Registration("NOT_REGISTERED", 60.0))
REJECTED = Rejected("ValidationException")
ASK = [GetDeviceRegistration(DEVICE)]


def since(when: float) -> Accepted[Registration]:
    return Accepted(Registration("REGISTERED", 300.0, when))


def harness_with(**settings: Any) -> EngineHarness:
    """It knows the device's hello."""
    harness = EngineHarness(Policy(**settings))
    harness.restore_hello()
    return harness


def check(harness: EngineHarness, most: int = 5) -> list[object]:
    return calls(harness.engine.check_registrations(harness.now, most))


def test_a_device_that_sends_nothing_is_asked_for_when_its_registration_expires() -> None:
    harness = harness_with()
    assert check(harness) == ASK
    assert check(harness) == []  # in flight
    assert harness.resolve(REGISTERED) == []
    harness.wait(299.0)
    assert check(harness) == []
    harness.wait(1.0)
    assert check(harness) == ASK


def test_a_device_that_is_not_registered_is_asked_for_once_until_it_sends_something() -> None:
    harness = harness_with()
    check(harness)
    assert harness.resolve(NOT_REGISTERED) == [DeleteRetained(DEVICE)]
    harness.wait(1000.0)
    assert check(harness) == []
    harness.receive(HELLO)
    assert check(harness) == ASK


def test_what_is_retained_is_deleted_each_time_and_before_the_acknowledgement() -> None:
    """The device may have published its hello again."""
    harness = harness_with()
    for _ in range(2):
        assert calls(harness.receive(HEARTBEAT)) == ASK
        assert type_names(harness.resolve(NOT_REGISTERED)) == [
            "DeleteRetained",
            "PublishAck",
            "DeadLetter",
            "Acknowledge",
        ]
        harness.wait(60.0)


@pytest.mark.parametrize("outcome", [RetryLater(False), RetryLater(True), Cancelled("")])
def test_no_answer_says_nothing(outcome: RetryLater | Cancelled) -> None:
    harness = harness_with()
    check(harness)
    assert harness.resolve(outcome) == []


def test_devices_of_other_fleets_and_without_the_check_are_not_asked_for() -> None:
    assert check(harness_with(fleets=frozenset({"fleet-b"}))) == []
    assert check(harness_with(fleets=frozenset({DEVICE.fleet}))) == ASK
    assert check(harness_with(ask_registration=False)) == []
    stopped = harness_with()
    stopped.engine.stop()
    assert check(stopped) == []


def test_few_are_asked_for_at_once_and_none_while_others_wait_for_a_slot() -> None:
    harness = harness_with()
    devices = [DEVICE, *(Device("fleet-a", f"d{number}") for number in range(MOST_EXAMINED))]
    for device in devices[1:]:
        harness.engine.restore_registration(device, 1.0)
    found = [call for _ in range(len(devices) + 1) for call in check(harness, 1)]
    assert sorted(map(str, found)) == sorted(str(GetDeviceRegistration(each)) for each in devices)
    full = harness_with()
    full.engine.set_concurrency(0, full.now)
    assert check(full) == []
    full.receive(HEARTBEAT, OTHER)
    assert check(full) == []


def test_a_device_that_waits_for_its_retry_is_not_asked_for() -> None:
    harness = harness_with()
    harness.receive(HEARTBEAT)
    harness.resolve(RetryLater(True))
    assert check(harness) == []


def test_a_new_registration_replaces_the_plan_of_the_earlier_one() -> None:
    harness = harness_with()
    harness.engine.restore_registration(DEVICE, 1.0)
    check(harness)
    assert calls(harness.resolve(since(2.0))) == [GetDeployments(DEVICE, retryable=False)]
    effects = harness.resolve(Accepted(plan(11)))
    assert type_names(effects) == ["PublishPlan", "SaveRegistration"]
    [published] = of_type(effects, PublishPlan)
    assert (published.digest, published.delivery) == (11, None)
    assert of_type(effects, SaveRegistration) == [SaveRegistration(DEVICE, 2.0)]
    assert harness.engine.plan_refused(published, "too large", 0.0, harness.now) == []
    harness.wait(300.0)
    check(harness)
    assert harness.resolve(since(2.0)) == []


def test_the_first_registration_that_is_known_is_saved_and_replaces_nothing() -> None:
    harness = harness_with()
    check(harness)
    assert harness.resolve(since(1.0)) == [SaveRegistration(DEVICE, 1.0)]
    harness.wait(300.0)
    check(harness)
    assert harness.resolve(NOT_REGISTERED) == [DeleteRetained(DEVICE), SaveRegistration(DEVICE, None)]
    harness.receive(HELLO)
    harness.wait(60.0)
    check(harness)
    assert harness.resolve(since(2.0)) == [SaveRegistration(DEVICE, 2.0)]


def test_a_plan_that_cannot_be_published_is_deleted() -> None:
    harness = harness_with()
    harness.engine.restore_registration(DEVICE, 1.0)
    check(harness)
    harness.resolve(since(2.0))
    assert type_names(harness.resolve(Accepted(plan(11, 5000)))) == ["DeleteRetained", "SaveRegistration"]


def test_a_replacement_that_fails_is_tried_at_the_next_answer() -> None:
    harness = harness_with()
    harness.engine.restore_registration(DEVICE, 1.0)
    check(harness)
    harness.resolve(since(2.0))
    assert harness.resolve(REJECTED) == []
    harness.wait(300.0)
    check(harness)
    assert calls(harness.resolve(since(2.0))) == [GetDeployments(DEVICE, retryable=False)]


def test_a_replacement_waits_for_the_hello() -> None:
    harness = EngineHarness(Policy())
    harness.engine.restore_registration(DEVICE, 1.0)
    check(harness)
    assert type_names(harness.resolve(since(2.0))) == ["FetchRetainedHello"]
    harness.suback()
    harness.receive(HELLO)
    harness.wait(300.0)
    check(harness)
    assert calls(harness.resolve(since(2.0))) == [GetDeployments(DEVICE, retryable=False)]


def test_a_get_that_waits_brings_the_replacement_with_it() -> None:
    harness = harness_with()
    harness.engine.restore_registration(DEVICE, 1.0)
    harness.receive(Get(None, 3))
    harness.resolve(since(2.0))
    effects = harness.resolve(Accepted(plan(11)))
    assert type_names(effects) == ["PublishPlan", "SaveRegistration"]


def test_a_rejected_call_asks_for_the_registration_where_it_is_not_fresh() -> None:
    harness = harness_with()
    harness.receive(HEARTBEAT)
    harness.resolve(REGISTERED)
    harness.wait(DOUBTED_AFTER)
    assert calls(harness.resolve(REJECTED)) == ASK
    effects = harness.resolve(NOT_REGISTERED)
    assert codes(effects) == [(7, Code.NOT_REGISTERED)]
    assert acknowledged(effects) == [1]


def test_a_call_that_is_rejected_again_is_answered_with_code_4() -> None:
    harness = harness_with()
    harness.receive(HEARTBEAT)
    harness.resolve(REGISTERED)
    harness.wait(DOUBTED_AFTER)
    assert calls(harness.resolve(REJECTED)) == ASK
    assert [type(call) for call in calls(harness.resolve(REGISTERED))] == [SendHeartbeat]
    assert codes(harness.resolve(REJECTED)) == [(7, Code.REFUSED)]
    harness.receive(HEARTBEAT)
    assert harness.resolve(ACCEPTED)
