"""One device must not stop the others: one fails, floods or has no hello, and the others' messages are accepted.

Each test has an intake that one device could fill.
"""

import time

import pytest

from tests.integration.testbed import Testbed
from tests.support.edge_manager import UNAVAILABLE, Reply, Request, Rule
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import PlainDevice

FOR_GOOD = 300
"""give_up_after in seconds, far longer than a test."""


def fails_for(*names: str) -> Rule:
    def rule(request: Request) -> Reply | None:
        return UNAVAILABLE if request.device in names and request.operation == "SendHeartbeat" else None

    return rule


def all_are_accepted(device: PlainDevice, count: int, first: int = 1) -> None:
    numbers = range(first, first + count)
    device.numbered(*numbers)
    assert [device.ack(number) for number in numbers] == [(0, "")] * count


@pytest.mark.needs_broker("receive_maximum")
def test_a_device_whose_calls_all_fail_does_not_stop_the_fleet(testbed: Testbed) -> None:
    """Acks keep their order: the acks of what the others sent wait behind the one that fails."""
    testbed.open(intake=10, give_up_after=FOR_GOOD)
    testbed.service.answer_by(fails_for("poor"))
    poor, lucky = testbed.known_device("poor"), testbed.known_device("lucky")
    lucky.numbered(0)
    assert lucky.ack(0) == (0, "")
    poor.numbered(1, 2)
    testbed.service.failed("poor")
    all_are_accepted(lucky, 60)
    assert {poor.ack(1)[0], poor.ack(2)[0]} == {7}
    all_are_accepted(lucky, 60, first=100)
    testbed.service.recover()
    poor.numbered(3)
    assert poor.ack(3) == (0, "")


def test_a_device_that_floods_gets_code_7_and_the_others_are_accepted(testbed: Testbed) -> None:
    gateway = testbed.open(device_rate=0.01, device_burst=50)
    greedy, modest = testbed.known_device("greedy"), testbed.known_device("modest")
    greedy.numbered(*range(1, 201))
    all_are_accepted(modest, 20)
    found = [greedy.received.next(lambda each: each.channel == "ack").content[:2] for _ in range(200)]
    codes = [code for _, code in found]
    assert codes.count(7) == 151, "its hello counts too"
    assert {seq for seq, code in found if code == 7} == set(range(50, 201))
    assert [seq for seq, code in found if code == 0] == list(range(1, 50))
    assert gateway.metrics()["messages_rate_limited_total"] == 151
    gateway.until_metric("unacknowledged_messages", 0)


def test_what_waited_while_no_gateway_was_there_is_no_flood(testbed: Testbed) -> None:
    gateway, device = testbed.open(device_rate=20, device_burst=5), testbed.known_device("d")
    device.numbered(1)
    assert device.ack(1) == (0, "")
    assert gateway.terminate() == 0
    device.numbered(*range(2, 42))
    time.sleep(2.0)  # what passes is the time itself: at the rate, as many are due by now
    gateway.start()
    assert device.ack(41) == (0, "")
    assert {code for _, code in device.acked()} == {0}


def test_what_the_broker_delivers_again_is_no_flood(testbed: Testbed) -> None:
    gateway, device = testbed.open(device_rate=0.01, device_burst=50), testbed.known_device("d")
    testbed.service.fail(UNAVAILABLE)
    device.numbered(*range(1, 31))
    gateway.until_metric("unacknowledged_messages", 30)
    for _ in range(2):
        gateway.kill()
        gateway.start()
        gateway.until_metric("unacknowledged_messages", 30)
    device.numbered(31)
    testbed.service.recover()
    assert device.ack(31) == (0, "")
    assert {code for _, code in device.acked()} == {0}


def test_a_device_without_a_hello_uses_few_places(testbed: Testbed) -> None:
    gateway = testbed.open(intake=20, hello_wait=30)
    lost, other = testbed.device("lost"), testbed.known_device("other")
    lost.numbered(*range(1, 31))
    all_are_accepted(other, 60)
    assert lost.ack(1)[0] == 2
    lost.hello(TAG, LAYOUT, EPOCH)
    lost.numbered(31)
    assert lost.ack(31) == (0, "")
    gateway.until_metric("unacknowledged_messages", 0)


def test_a_new_session_brings_the_hellos_that_changed_and_keeps_the_tags_before_them(testbed: Testbed) -> None:
    """The epoch was filled in while nobody was there; what comes under the older tag is understood still."""
    gateway, device = testbed.open(session_expiry=1), testbed.known_device("d")
    device.hello(TAG + 1, LAYOUT, None)
    for tag in (TAG, TAG + 1):
        device.numbered(tag, tag=tag)
        assert device.ack(tag) == (0, "")
        testbed.service.heartbeat("d")
    gateway.terminate()
    device.hello(TAG + 1, LAYOUT, EPOCH + 500)
    time.sleep(2.5)  # the broker forgets the session by its own clock, and sends no event
    gateway.start()
    for number, tag in enumerate((TAG + 1, TAG), 1):
        device.numbered(number, tag=tag)
        assert device.ack(number) == (0, "")
    stamps = [testbed.service.heartbeat("d")["AgentMetrics"][0]["Timestamp"] for _ in range(2)]
    assert stamps == [EPOCH + 501, EPOCH + 2]
