"""Calls that are retried, and devices that wait for a free slot: nothing is lost or out of order."""

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
    heartbeat,
    plan,
)

ALONE, ALL = RetryLater(only_this_device=True), RetryLater(only_this_device=False)
THIRD = Device("fleet-a", "dev-3")


@pytest.fixture
def harness() -> EngineHarness:
    """Registration is not asked for, the hellos are known."""
    harness = EngineHarness()
    for device in (DEVICE, OTHER, THIRD):
        harness.restore_hello(device=device)
    return harness


def set_limit(harness: EngineHarness, limit: int) -> list[Effect]:
    return harness.engine.set_concurrency(limit, harness.now)


def numbers(effects: list[Effect]) -> list[list[int]]:
    """The values of each SendHeartbeat."""
    return [[value for _, value, _ in call.metrics] for call in calls(effects)]


def asked(effects: list[Effect]) -> list[Device]:
    return [call.device for call in calls(effects)]


# RetryLater(only_this_device=True)


def test_a_device_whose_call_failed_alone_waits_until_its_retry_is_due(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    assert harness.resolve(ALONE) == []
    assert harness.receive(heartbeat(2)) == []
    assert numbers(harness.engine.retry_due(DEVICE, harness.now)) == [[1]]


def test_others_go_on_meanwhile(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.resolve(ALONE)
    assert asked(harness.receive(heartbeat(1), OTHER)) == [OTHER]


def test_the_call_that_failed_is_repeated_unchanged_and_the_rest_follows(harness: EngineHarness) -> None:
    """So that a call that is given up in the end is the one that failed all the time."""
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    harness.receive(heartbeat(3))
    harness.resolve(ACCEPTED)
    harness.resolve(ALONE)
    harness.receive(heartbeat(4, seq=4))
    assert numbers(harness.engine.retry_due(DEVICE, harness.now)) == [[2, 3]]
    effects = harness.resolve(Abandoned("503"))
    assert (acknowledged(effects), numbers(effects)) == ([2, 3], [[4]])


def test_a_split_continues_after_a_retry(harness: EngineHarness) -> None:
    for number in (1, 2, 3, 4):
        harness.receive(heartbeat(number))
    harness.resolve(ACCEPTED)
    assert numbers(harness.resolve(Rejected("no"))) == [[2]]
    for outcome in (ALONE, ALONE):
        harness.resolve(outcome)
        assert numbers(harness.engine.retry_due(DEVICE, harness.now)) == [[2]]
    assert numbers(harness.resolve(ACCEPTED)) == [[3]]
    harness.receive(heartbeat(5))
    assert numbers(harness.resolve(Rejected("no"))) == [[4]]
    assert numbers(harness.resolve(ACCEPTED)) == [[5]]


def test_a_get_is_retried_alike(harness: EngineHarness) -> None:
    harness.receive(Get(0, 7))
    assert harness.resolve(ALONE) == []
    assert calls(harness.engine.retry_due(DEVICE, harness.now)) == [GetDeployments(DEVICE, retryable=True)]


def test_a_registration_call_is_retried_and_then_all_that_waits_is_one_call() -> None:
    harness = EngineHarness(Policy())
    harness.restore_hello()
    harness.receive(heartbeat(1))
    harness.resolve(ALONE)
    assert harness.receive(heartbeat(2)) == []
    assert calls(harness.engine.retry_due(DEVICE, harness.now)) == [GetDeviceRegistration(DEVICE)]
    assert numbers(harness.resolve(REGISTERED)) == [[1, 2]]


def test_what_is_redelivered_after_a_reconnect_is_not_sent_twice(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(2))
    harness.resolve(ALONE)
    harness.connection += 1
    assert acknowledged(harness.engine.reconnected(harness.connection, resumed=True, now=harness.now)) == [1, 2]
    for number in (1, 2):
        assert harness.receive(heartbeat(number)) == []
    assert numbers(harness.engine.retry_due(DEVICE, harness.now)) == [[1, 2]]


def test_a_call_that_fails_after_a_reconnect_is_left_to_the_redelivery(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.connection += 1
    harness.engine.reconnected(harness.connection, resumed=True, now=harness.now)
    assert acknowledged(harness.resolve(ALONE)) == [1]
    harness.receive(heartbeat(1))
    assert numbers(harness.engine.retry_due(DEVICE, harness.now)) == [[1]]


def test_after_the_stop_no_retry_starts(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.resolve(ALONE)
    harness.engine.stop()
    assert harness.engine.retry_due(DEVICE, harness.now) == set_limit(harness, 0) == set_limit(harness, 9) == []


# Waiting for a free slot


def test_what_finds_no_free_slot_is_merged_when_there_is_one(harness: EngineHarness) -> None:
    set_limit(harness, 1)
    harness.receive(heartbeat(1))
    for number in (1, 2, 3):
        assert harness.receive(heartbeat(number), OTHER) == []
    assert harness.engine.waiting_devices == 1
    effects = harness.resolve(ACCEPTED)
    assert (asked(effects), numbers(effects)) == ([OTHER], [[1, 2, 3]])
    assert harness.engine.waiting_devices == 0


def test_slots_are_given_in_the_order_of_arrival(harness: EngineHarness) -> None:
    set_limit(harness, 1)
    for number in (1, 2):
        for device in (DEVICE, OTHER, THIRD):
            harness.receive(heartbeat(number), device)
    served = [DEVICE]
    for _ in range(3):
        effects = harness.resolve(ACCEPTED, served[-1])
        served += asked(effects)
    assert served == [DEVICE, OTHER, THIRD, DEVICE]


def test_with_a_limit_of_0_no_call_starts(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    assert set_limit(harness, 0) == []
    assert harness.resolve(ALL) == harness.receive(heartbeat(2)) == harness.receive(heartbeat(1), OTHER) == []
    assert harness.engine.waiting_devices == 2


def test_single_slots_go_to_each_device_in_turn(harness: EngineHarness) -> None:
    """One that always fails does not block the others."""
    harness.receive(heartbeat(1))
    set_limit(harness, 0)
    harness.resolve(ALL)
    harness.receive(heartbeat(1), OTHER)
    probed = []
    for _ in range(4):
        probed += (now := asked(set_limit(harness, 1)))
        set_limit(harness, 0)
        assert harness.resolve(ALL, now[0]) == []
    assert probed == [DEVICE, OTHER, DEVICE, OTHER]


def test_after_an_outage_a_devices_backlog_is_one_call(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    set_limit(harness, 0)
    harness.resolve(ALL)
    for number in range(2, 51):
        harness.receive(heartbeat(number))
    effects = set_limit(harness, 128)
    assert numbers(effects) == [list(range(1, 51))]
    assert acknowledged(harness.resolve(ACCEPTED)) == list(range(1, 51))


def test_a_higher_limit_starts_more_calls(harness: EngineHarness) -> None:
    set_limit(harness, 0)
    for device in (DEVICE, OTHER, THIRD):
        harness.receive(heartbeat(1), device)
    assert asked(set_limit(harness, 2)) == [DEVICE, OTHER]
    assert asked(set_limit(harness, 3)) == [THIRD]


def test_a_device_that_was_just_registered_keeps_its_slot() -> None:
    harness = EngineHarness(Policy())
    for device in (DEVICE, OTHER):
        harness.restore_hello(device=device)
    set_limit(harness, 1)
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(1), OTHER)
    assert [type(call) for call in calls(harness.resolve(REGISTERED))] == [SendHeartbeat]
    assert calls(harness.resolve(ACCEPTED)) == [GetDeviceRegistration(OTHER)]


def test_reads_and_plans_wait_for_a_slot_too(harness: EngineHarness) -> None:
    set_limit(harness, 1)
    harness.receive(heartbeat(1))
    assert acknowledged(harness.receive(Read(7, 0, 0, 64), OTHER)) == [2]
    assert calls(harness.resolve(ACCEPTED)) == [GetDeployments(OTHER, retryable=False)]
    assert codes(harness.resolve(type(ACCEPTED)(plan(7)), OTHER)) == [(None, 5)]


def test_a_queued_device_whose_messages_were_dropped_takes_no_slot(harness: EngineHarness) -> None:
    set_limit(harness, 1)
    harness.receive(heartbeat(1))
    harness.receive(heartbeat(1), OTHER)
    harness.receive(heartbeat(1), THIRD)
    harness.connection += 1
    harness.engine.reconnected(harness.connection, resumed=True, now=harness.now)
    harness.receive(heartbeat(2), THIRD)
    assert asked(harness.resolve(ACCEPTED)) == [THIRD]


def test_a_have_is_compared_when_there_is_a_slot(harness: EngineHarness) -> None:
    set_limit(harness, 1)
    harness.receive(Heartbeat(HELLO.tag, 1, (1,), have=5))
    harness.receive(heartbeat(1), OTHER)
    assert asked(harness.resolve(ACCEPTED)) == [OTHER]
    assert calls(harness.resolve(ACCEPTED, OTHER)) == [GetDeployments(DEVICE, retryable=False)]
    assert harness.resolve(type(ACCEPTED)(plan(5))) == []
