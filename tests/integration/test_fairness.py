"""One device must not take what belongs to all: whoever fails, floods or has no hello, the others get through.

Each test has an intake that one device could fill.
"""

import time
from typing import Any

import pytest

from tests.integration.conftest import Way
from tests.integration.forms import EPOCH, LAYOUT, TAG
from tests.support.edge_manager import UNAVAILABLE, Fault
from tests.support.plain_device import Stranger

FOR_GOOD = 300
"""give_up_after in seconds, far beyond a test's patience."""


def introduced(way: Way, name: str, epoch: int | None = EPOCH) -> Stranger:
    device = way.device(name)
    device.hello(TAG, LAYOUT, epoch)
    return device


def beat(device: Stranger, *numbers: int, tag: int = TAG) -> None:
    """Heartbeats whose number is their time, their only sample and their seq."""
    for number in numbers:
        device.heartbeat(tag, number, [number], None, None, None, number)


def fails_for(*names: str) -> Any:
    def judge(operation: str, body: dict[str, Any]) -> Fault | None:
        return UNAVAILABLE if body["DeviceName"] in names and operation == "SendHeartbeat" else None

    return judge


def all_get_through(device: Stranger, count: int, first: int = 1) -> None:
    numbers = range(first, first + count)
    beat(device, *numbers)
    assert [device.ack(number) for number in numbers] == [(0, "")] * count


@pytest.mark.needs_broker("receive_maximum")
def test_one_whose_calls_all_fail_does_not_stop_the_fleet(way: Way) -> None:
    """Acks keep their order: what the others sent waits, settled, behind the one that fails."""
    way.open(intake=10, give_up_after=FOR_GOOD)
    way.recorder.judge = fails_for("poor")
    poor, lucky = introduced(way, "poor"), introduced(way, "lucky")
    beat(lucky, 0)
    assert lucky.ack(0) == (0, "")
    beat(poor, 1, 2)
    way.recorder.failed("poor")
    all_get_through(lucky, 60)
    assert {poor.ack(1)[0], poor.ack(2)[0]} == {7}
    all_get_through(lucky, 60, first=100)
    way.recorder.recover()
    beat(poor, 3)
    assert poor.ack(3) == (0, "")


def test_one_that_floods_is_told_and_the_others_get_through(way: Way) -> None:
    gateway = way.open(device_rate=0.01, device_burst=50)
    greedy, modest = introduced(way, "greedy"), introduced(way, "modest")
    beat(greedy, *range(1, 201))
    all_get_through(modest, 20)
    found = [greedy.heard.next(lambda each: each.channel == "ack").content[:2] for _ in range(200)]
    codes = [code for _, code in found]
    assert codes.count(7) == 151, "its hello counts too"
    assert {seq for seq, code in found if code == 7} == set(range(50, 201))
    assert [seq for seq, code in found if code == 0] == list(range(1, 50))
    assert gateway.metrics()["messages_rate_limited_total"] == 151
    gateway.until_metric("unacknowledged_messages", 0)


def test_what_waited_while_no_gateway_was_there_is_no_flood(way: Way) -> None:
    gateway, device = way.open(device_rate=20, device_burst=5), introduced(way, "d")
    beat(device, 1)
    assert device.ack(1) == (0, "")
    assert gateway.terminate() == 0
    beat(device, *range(2, 42))
    time.sleep(2.0)  # what passes is the time itself: at the rate, as many are due by now
    gateway.start()
    assert device.ack(41) == (0, "")
    assert {code for _, code in device.acked()} == {0}


def test_what_the_broker_delivers_again_is_no_flood(way: Way) -> None:
    gateway, device = way.open(device_rate=0.01, device_burst=50), introduced(way, "d")
    way.recorder.fail(UNAVAILABLE)
    beat(device, *range(1, 31))
    gateway.until_metric("unacknowledged_messages", 30)
    for _ in range(2):
        gateway.kill()
        gateway.start()
        gateway.until_metric("unacknowledged_messages", 30)
    beat(device, 31)
    way.recorder.recover()
    assert device.ack(31) == (0, "")
    assert {code for _, code in device.acked()} == {0}


def test_one_without_a_hello_holds_few_places(way: Way) -> None:
    gateway = way.open(intake=20, hello_wait=30)
    lost, other = way.device("lost"), introduced(way, "other")
    beat(lost, *range(1, 31))
    all_get_through(other, 60)
    assert lost.ack(1)[0] == 2
    lost.hello(TAG, LAYOUT, EPOCH)
    beat(lost, 31)
    assert lost.ack(31) == (0, "")
    gateway.until_metric("unacknowledged_messages", 0)


def test_a_new_session_brings_the_hellos_that_changed_and_keeps_the_tags_before_them(way: Way) -> None:
    """The epoch was filled in while nobody was there; what comes under the older tag is understood still."""
    gateway, device = way.open(session_expiry=1), introduced(way, "d")
    device.hello(TAG + 1, LAYOUT, None)
    for tag in (TAG, TAG + 1):
        beat(device, tag, tag=tag)
        assert device.ack(tag) == (0, "")
        way.recorder.heartbeat("d")
    gateway.terminate()
    device.hello(TAG + 1, LAYOUT, EPOCH + 500)
    time.sleep(2.5)  # the broker forgets the session by its own clock, and tells nobody
    gateway.start()
    for number, tag in enumerate((TAG + 1, TAG), 1):
        beat(device, number, tag=tag)
        assert device.ack(number) == (0, "")
    stamps = [way.recorder.heartbeat("d")["AgentMetrics"][0]["Timestamp"] for _ in range(2)]
    assert stamps == [EPOCH + 501, EPOCH + 2]
