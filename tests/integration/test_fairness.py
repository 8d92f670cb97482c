"""One device must not stop the others: one fails, floods or has no hello, and the others' messages are accepted.

Each test has an intake that one device could fill.
"""

import itertools
import time
from collections import Counter

import msgpack
import pytest

from tests.integration.testbed import Testbed
from tests.support.edge_manager import UNAVAILABLE, Reply, Request, Rule
from tests.support.flood import Flood
from tests.support.gateway_process import GatewayProcess
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import DeadLetter, Operator, PlainDevice
from tests.support.polling import until

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


def rejections(operator: Operator, count: int, *codes: str) -> list[DeadLetter]:
    """The dead letters of `count` messages, with one of these codes."""
    dead_letters = list[DeadLetter]()
    while (missing := count - sum(int(each.properties.get("count", 1)) for each in dead_letters)) > 0:
        dead_letters.append(operator.dead.next(lambda each: not codes or each.properties["code"] in codes))
    assert missing == 0
    return dead_letters


def test_a_device_that_floods_gets_code_7_and_the_others_are_accepted(testbed: Testbed) -> None:
    """One ack and one dead letter a second, with the number of messages."""
    gateway, operator = testbed.open(device_rate=0.01, device_burst=50), testbed.operator()
    greedy, modest = testbed.known_device("greedy"), testbed.known_device("modest")
    began = time.monotonic()
    greedy.numbered(*range(1, 201))
    all_are_accepted(modest, 20)
    dead_letters = rejections(operator, 151)  # its hello counts too, so 49 of 200 are accepted
    assert len(dead_letters) <= 2 + time.monotonic() - began
    assert {each.properties["code"] for each in dead_letters} == {"7"}
    assert [msgpack.unpackb(each.payload)[6] for each in dead_letters[:2]] == [50, 51]
    code, detail = greedy.ack(51)
    assert (code, detail.rpartition(" (")[2]) == (7, f"{dead_letters[1].properties['count']} messages)")
    assert [seq for seq, code in greedy.acked() if code == 0] == list(range(1, 50))
    assert gateway.metrics()["messages_rate_limited_total"] == 151
    gateway.until_metric('messages_rejected_total{code="gave_up"}', 151)
    gateway.until_metric("unacknowledged_messages", 0)


def limited(gateway: GatewayProcess) -> float:
    return gateway.metrics()["messages_rate_limited_total"]


@pytest.mark.parametrize(
    ("channel", "payload", "accepted", "most"),
    [
        ("hb", msgpack.packb([TAG, 1, [1]]), 48, 50),
        ("get", msgpack.packb([0]), 48, 50),
        ("hello", msgpack.packb([TAG, LAYOUT, EPOCH]), 48, 50),
        ("read", msgpack.packb([1, 0, 0, 16]), 48, None),
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_each_message_of_a_flood_is_counted(
    testbed: Testbed, channel: str, payload: bytes, accepted: int, most: int | None, qos: int
) -> None:
    """On each topic: what is not accepted is in the count of a dead letter, and in the metrics. A read that is answered
    with an error counts as a whole message; one that waits for the plan is replaced by the next."""
    gateway, operator = testbed.open(device_rate=0.01, device_burst=50), testbed.operator()
    name = f"{testbed.fleet}/loud"
    testbed.known_device("loud").disconnect()
    at, login, sent, rejected = testbed.broker.address, testbed.broker.add_user(name), 0, 0.0
    for _ in range(2):
        before = rejected
        with Flood(at.host, at.device_port, login, f"edge/{name}/{channel}", payload, qos, rate=10_000) as flood:
            until(lambda: limited(gateway) > before, lambda: f"nothing of {flood.sent} is rejected")  # noqa: B023
        assert flood.error is None
        sent += flood.sent
        gateway.until_metric(f'messages_received_total{{channel="{channel}"}}', sent + (channel == "hello"))
        rejected = limited(gateway)
        gateway.until_metric('messages_rejected_total{code="gave_up"}', rejected)
    assert accepted <= sent - rejected
    # How many reads wait for the plan, and are replaced, depends on the machine; the second flood meets none of that.
    assert most is None or sent - rejected <= most
    assert flood.sent - (rejected - before) <= 1
    rejections(operator, int(rejected), "7")
    gateway.until_metric("messages_acknowledged_total", sent + 1)
    gateway.until_metric("unacknowledged_messages", 0)


def test_after_a_flood_a_device_is_accepted_again(testbed: Testbed) -> None:
    gateway, device = testbed.open(device_rate=20, device_burst=5), testbed.known_device("d")
    at, name = testbed.broker.address, f"{testbed.fleet}/d"
    topic, payload = f"edge/{name}/hb", msgpack.packb([TAG, 1, [1]])
    with Flood(at.host, at.device_port, testbed.broker.add_user(name), topic, payload, 1, rate=10_000):
        until(lambda: limited(gateway) > 0, lambda: "nothing is rejected")
    device.wait_resubscribed()
    numbers = itertools.count()

    def is_accepted() -> bool:
        device.numbered(next(numbers))
        return any(code == 0 for _, code in device.acked())

    until(is_accepted, lambda: f"none of the heartbeats to {numbers} is accepted")


def test_a_payload_that_is_too_large_counts_and_is_answered_once_a_second(testbed: Testbed) -> None:
    """Its dead letter has its size and its first bytes; the rate comes first."""
    gateway, operator = testbed.open(max_payload=1000, device_rate=0.01, device_burst=52), testbed.operator()
    device = testbed.known_device("d")
    payload = msgpack.packb([TAG, 1, [1] * 40_000, None, None, None, 9])
    began = time.monotonic()
    for _ in range(10):
        device.send("hb", payload)
    dead_letters = rejections(operator, 10)
    found = Counter[str]()
    for each in dead_letters:
        found[each.properties["code"]] += int(each.properties.get("count", 1))
    assert found == {"1": 5, "7": 5}, "a payload of 40 kB counts as ten messages"
    assert len(dead_letters) <= 2 * (2 + time.monotonic() - began)
    assert {(each.payload, each.properties["size"]) for each in dead_letters} == {(payload[:256], str(len(payload)))}
    codes = sorted(int(each.properties["code"]) for each in dead_letters)
    until(lambda: sorted(code for _, code in device.acked()) == codes, lambda: f"{device.acked()}")
    gateway.until_metric("unacknowledged_bytes", 0)
    gateway.until_metric("unacknowledged_messages", 0)


def test_a_topic_with_an_invalid_name_has_a_rate_too(testbed: Testbed) -> None:
    testbed.open(device_rate=0.01, device_burst=50)
    operator, device = testbed.operator(), testbed.device("dev.1")
    began = time.monotonic()
    device.numbered(*range(1, 101))
    assert device.ack()[0] == 4
    dead_letters = rejections(operator, 100)
    codes = [each.properties["code"] for each in dead_letters]
    assert codes.count("4") == 50
    assert codes.count("7") <= 2 + time.monotonic() - began


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
    assert {lost.ack(number)[0] for number in range(1, 31)} == {2}
    lost.numbered(32)
    assert lost.ack(32)[0] == 2, "nothing waits in vain for 30 s again"
    lost.hello(TAG, LAYOUT, EPOCH)
    lost.numbered(33)
    assert lost.ack(33) == (0, "")
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
