"""A heartbeat with a long payload waits undecoded, and its call is the same, whatever happened meanwhile."""

import sys
from types import FrameType
from typing import Any

import pytest

from gateway.core.effects import Effect
from gateway.core.engine import Policy
from gateway.core.merging import QueuedHeartbeat
from gateway.errors import Code
from gateway.protocol.decoder import decode_heartbeat
from gateway.protocol.messages import DeviceMessage, Heartbeat, Layout, ModelSamples, Result
from gateway.protocol.service_calls import Rejected, RetryLater
from tests.support.engine import (
    ACCEPTED,
    DEVICE,
    EPOCH,
    HELLO,
    LAYOUT,
    EngineHarness,
    acknowledged,
    calls,
    codes,
    long_payload,
)

RESULT = Result("deployment-1", "SUCCESS", "done", 5, 2, ())
BUSY = Heartbeat(HELLO.tag, 100, (5, (1, 0, 2, 10)), (ModelSamples(3, 2, (7,)),), 9, RESULT, 11)
PLAIN = BUSY._replace(have=None)
LATER = Heartbeat(HELLO.tag, 160, (6, None), seq=12)
OWN_LAYOUT = Heartbeat(LAYOUT, EPOCH + 100, (5, 6), seq=13)
OTHER_FORM = Heartbeat(Layout("9.0", LAYOUT.metrics, ()), EPOCH + 100, (5, 6), seq=14)


class Twice:
    """Two engines: one gets each heartbeat with a short payload, the other with a long one."""

    def __init__(self, policy: Policy) -> None:
        self.harnesses = [EngineHarness(policy), EngineHarness(policy)]

    def receive(self, message: DeviceMessage) -> list[Effect]:
        short, long = self.harnesses
        payload = long_payload(message) if isinstance(message, Heartbeat) else b""
        return self.same(short.receive(message), long.receive(message, payload=payload))

    def resolve(self, outcome: Any) -> list[Effect]:
        return self.same(*(harness.resolve(outcome) for harness in self.harnesses))

    def same(self, first: list[Effect], second: list[Effect]) -> list[Effect]:
        assert calls(first) == calls(second)
        assert (codes(first), acknowledged(first)) == (codes(second), acknowledged(second))
        return second

    @property
    def waiting(self) -> list[QueuedHeartbeat]:
        """In the engine with the long payloads."""
        state = self.harnesses[1].engine._states[DEVICE]
        flying = state.in_flight.heartbeats if state.in_flight else []
        return [*flying, *(item for item in state.waiting or () if isinstance(item, QueuedHeartbeat))]


@pytest.fixture
def twice() -> Twice:
    return Twice(Policy(ask_registration=False))


def test_what_waits_and_what_is_in_flight_has_no_content(twice: Twice) -> None:
    twice.receive(HELLO)
    assert len(calls(twice.receive(BUSY))) == 1
    for message in (LATER, OWN_LAYOUT, OTHER_FORM):
        twice.receive(message)
    contents = [(item.heartbeat.values, item.heartbeat.models, item.heartbeat.result) for item in twice.waiting]
    assert contents == [((), (), None)] * 4
    assert {item.layout for item in twice.waiting} == {LAYOUT, twice.waiting[2].layout}
    assert twice.waiting[2].layout == twice.waiting[3].layout != LAYOUT


def test_calls_are_the_same(twice: Twice) -> None:
    twice.receive(HELLO)
    for message in (PLAIN, LATER, PLAIN, OWN_LAYOUT, OTHER_FORM):
        twice.receive(message)
    assert [call.heartbeats for call in calls(twice.resolve(ACCEPTED))] == [3]
    assert [call.heartbeats for call in calls(twice.resolve(ACCEPTED))] == [1]
    assert codes(twice.resolve(ACCEPTED)) == [(14, Code.ACCEPTED)]


def test_so_are_those_after_a_failure_and_one_by_one(twice: Twice) -> None:
    twice.receive(HELLO)
    for message in (BUSY, LATER, BUSY):
        twice.receive(message)
    assert calls(twice.resolve(RetryLater(only_this_device=False)))
    for _ in range(3):
        assert calls(twice.resolve(Rejected("no")))
    assert codes(twice.resolve(Rejected("no"))) == [(11, Code.REFUSED)]


def test_so_is_one_that_waited_for_its_hello(twice: Twice) -> None:
    twice.receive(BUSY)
    assert twice.waiting[0].heartbeat == Heartbeat(HELLO.tag, 100, have=9, seq=11)
    assert len(calls(twice.receive(HELLO))) == 1
    assert codes(twice.resolve(ACCEPTED)) == [(11, Code.ACCEPTED)]


def test_no_more_is_decoded_than_one_call_may_hold() -> None:
    payload = long_payload(LATER)
    twice = Twice(Policy(ask_registration=False, merge_bytes=3 * len(payload)))
    twice.receive(HELLO)
    short, long = twice.harnesses
    for harness in (short, long):
        harness.receive(PLAIN)
    for _ in range(10):
        long.receive(LATER, payload=payload)
    (call,) = calls(long.resolve(ACCEPTED))
    assert 1 <= call.heartbeats <= 3
    assert all(item.dropped for item in twice.waiting)


@pytest.mark.parametrize(
    "others",
    [(PLAIN, OTHER_FORM), (PLAIN, PLAIN._replace(result=Result("deployment-2", "SUCCESS")))],
    ids=["layouts", "results"],
)
def test_what_cannot_be_merged_is_not_decoded_for_each_call(others: tuple[Heartbeat, Heartbeat]) -> None:
    """One that does not fit ends the decoding: with all that wait, a call took 20 ms of the loop."""
    harness = EngineHarness(Policy(ask_registration=False))
    harness.receive(HELLO)
    harness.receive(LATER)
    for number in range(40):
        harness.receive(others[number % 2], payload=long_payload(others[number % 2]))
    decoded: list[int] = []

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is decode_heartbeat.__code__:
            decoded[-1] += 1

    sys.setprofile(count)
    try:
        for _ in range(40):
            decoded.append(0)
            harness.resolve(ACCEPTED)
    finally:
        sys.setprofile(None)
    assert max(decoded) == 2
