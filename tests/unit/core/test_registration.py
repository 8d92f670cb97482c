"""The registration: asked once, kept for CacheTTL, "not registered" for 60 s at most; and what counts as registered."""

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
    type_names,
)

HEARTBEAT = Heartbeat(HELLO.tag, 1, seq=7)


def asking() -> EngineHarness:
    """A harness that asks for the registration, and knows the device's hello."""
    harness = EngineHarness(Policy())
    harness.restore_hello()
    return harness


def answered(word: str, ttl: float) -> Accepted[Registration]:
    return Accepted(Registration(word, ttl))


def test_the_registration_is_the_first_call() -> None:
    harness = asking()
    assert calls(harness.receive(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]
    assert harness.receive(HEARTBEAT) == []
    [call] = calls(harness.resolve(REGISTERED))
    assert (type(call), call.heartbeats) == (SendHeartbeat, 2)
    assert acknowledged(harness.resolve(ACCEPTED)) == [1, 2]


def test_a_registration_is_kept_for_its_cache_ttl() -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    harness.resolve(answered("REGISTERED", 90.0))
    harness.resolve(ACCEPTED)
    harness.wait(89.9)
    assert [type(call) for call in calls(harness.receive(HEARTBEAT))] == [SendHeartbeat]
    harness.resolve(ACCEPTED)
    harness.wait(0.1)
    assert [type(call) for call in calls(harness.receive(HEARTBEAT))] == [GetDeviceRegistration]


def test_with_a_cache_ttl_of_0_each_call_has_its_registration_call() -> None:
    harness = asking()
    for number in (1, 2, 3):
        assert calls(harness.receive(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]
        assert [type(call) for call in calls(harness.resolve(answered("REGISTERED", 0.0)))] == [SendHeartbeat]
        assert acknowledged(harness.resolve(ACCEPTED)) == [number]


def test_one_devices_registration_is_not_another_ones() -> None:
    harness = asking()
    harness.restore_hello(device=OTHER)
    harness.receive(HEARTBEAT)
    harness.resolve(REGISTERED)
    assert calls(harness.receive(HEARTBEAT, OTHER)) == [GetDeviceRegistration(OTHER)]


@pytest.mark.parametrize("word", ["REGISTERED", "Registered", "registered", "true", "TRUE", "True"])
def test_values_that_count_as_registered(word: str) -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    assert [type(call) for call in calls(harness.resolve(answered(word, 60.0)))] == [SendHeartbeat]


@pytest.mark.parametrize("word", ["", "false", "DEREGISTERED", "NOT_REGISTERED", "yes", "REGISTERED "])
def test_any_other_value_counts_as_not_registered(word: str) -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    assert codes(harness.resolve(answered(word, 60.0))) == [(7, 3)]


def test_the_values_are_a_setting() -> None:
    harness = EngineHarness(Policy(registered_values=frozenset({"yes"})))
    harness.restore_hello()
    harness.receive(HEARTBEAT)
    assert [type(call) for call in calls(harness.resolve(answered("YES", 60.0)))] == [SendHeartbeat]


def test_the_check_is_a_setting() -> None:
    harness = EngineHarness(Policy(ask_registration=False))
    harness.restore_hello()
    assert [type(call) for call in calls(harness.receive(HEARTBEAT))] == [SendHeartbeat]


def test_all_that_waits_of_an_unregistered_device_is_rejected_with_code_3() -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    harness.receive(Heartbeat(9999, 1, seq=8))
    harness.receive(Get(0, 9))
    effects = harness.resolve(answered("false", 60.0))
    assert codes(effects) == [(7, 3), (8, 3), (9, 3)]
    rejected = ["PublishAck", "DeadLetter", "Acknowledge"]
    assert [kind for kind in type_names(effects) if kind != "FetchRetainedHello"] == ["DeleteRetained", *rejected * 3]
    assert acknowledged(effects) == [1, 2, 3]


@pytest.mark.parametrize(("ttl", "believed"), [(300.0, 60.0), (60.0, 60.0), (20.0, 20.0), (0.0, 0.0)])
def test_not_registered_is_kept_for_60_s_at_most(ttl: float, believed: float) -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    harness.resolve(answered("false", ttl))
    if believed:
        harness.wait(believed - 0.1)
        effects = harness.receive(HEARTBEAT)
        assert (codes(effects), acknowledged(effects), calls(effects)) == ([(7, 3)], [2], [])
    harness.wait(0.1)
    assert calls(harness.receive(HEARTBEAT)) == [GetDeviceRegistration(DEVICE)]


def test_a_device_that_was_registered_meanwhile_is_accepted() -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    harness.resolve(answered("false", 60.0))
    harness.wait(60.0)
    harness.receive(HEARTBEAT)
    harness.resolve(REGISTERED)
    assert codes(harness.resolve(ACCEPTED)) == [(7, 0)]


def test_a_get_needs_a_registration_too() -> None:
    harness = asking()
    assert calls(harness.receive(Get(0))) == [GetDeviceRegistration(DEVICE)]
    assert calls(harness.resolve(REGISTERED)) == [GetDeployments(DEVICE, retryable=True)]


def test_a_registration_call_without_answer_acknowledges_nothing() -> None:
    harness = asking()
    harness.receive(HEARTBEAT)
    assert harness.resolve(Cancelled("the gateway stops")) == []
