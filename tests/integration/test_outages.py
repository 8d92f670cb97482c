"""The service fails: an outage is not an answer. Nothing is answered nor acknowledged, and all of it is accepted
afterwards.

Absence is shown by a sentinel: a malformed payload, sent last, is answered first.
"""

from collections.abc import Iterator

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import HTML, UNAVAILABLE, Reply, Request
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import PlainDevice

FLEET = fleet_of_a_module("outages")
PAGE = "<html><body>Welcome to nginx!</body></html>"
FAULTS = {
    "503": UNAVAILABLE,
    "500 without a code": Reply(500),
    "429": Reply(429),
    "InternalServiceException with 400": Reply(400, "InternalServiceException"),
    "throttled": Reply(400, "ThrottlingException"),
    "access denied": Reply(403, "AccessDeniedException"),
    "expired credentials": Reply(400, "ExpiredTokenException"),
    "unknown credentials": Reply(403, "UnrecognizedClientException"),
    "wrong signature": Reply(403, "InvalidSignatureException"),
    "404": Reply(404, "UnknownOperationException"),
    "a page with 404": Reply(404, body=PAGE, kind=HTML),
    "a page with 200": Reply(200, body=PAGE, kind=HTML),
    "a page with 502": Reply(502, body=PAGE, kind=HTML),
}


@pytest.fixture(scope="module")
def outages(broker: Broker, make_testbed: MakeTestbed) -> Testbed:
    testbed = make_testbed(broker, FLEET)
    testbed.open()
    return testbed


@pytest.fixture(autouse=True)
def _recovered(outages: Testbed) -> Iterator[None]:
    yield
    outages.service.recover()


def expect_silence(device: PlainDevice) -> None:
    device.send("hb", b"\xc1")
    assert device.ack()[0] == 1
    assert device.acked() == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("known", [True, False], ids=["registered before", "unknown"])
def test_nothing_is_answered_and_then_all_is_accepted(
    fault: Reply, known: bool, outages: Testbed, request: pytest.FixtureRequest
) -> None:
    name = f"d-{list(FAULTS.values()).index(fault)}-{known}"
    device = outages.known_device(name)
    if known:
        device.numbered(0)
        assert device.ack(0) == (0, "")
        outages.service.calls.clear()
    outages.service.fail(fault)
    device.numbered(1, 2, 3, 4)
    outages.service.failed(name)
    expect_silence(device)
    outages.gateway.until_metric("unacknowledged_messages", 4)
    outages.service.recover()
    assert device.ack(4) == (0, "")
    assert device.acked() == [(1, 0), (2, 0), (3, 0)]
    # The registration of one whose hello came may be known too: the gateway asks for it by itself.
    accepted = outages.service.accepted_values(name)
    assert accepted == [[1], [2, 3, 4]] or (not known and accepted == [[1, 2, 3, 4]])


def test_nobody_listens(testbed: Testbed) -> None:
    """In a gateway of its own, which says once in a while that calls fail."""
    testbed.open()
    device = testbed.known_device("closed")
    testbed.service.stop_listening()
    device.numbered(1, 2, 3)
    testbed.gateway.wait_for_log("a call to Edge Manager failed and is retried; messages stay queued at the broker")
    expect_silence(device)
    testbed.service.listen()
    assert device.ack(3) == (0, "")
    assert device.acked() == [(1, 0), (2, 0)]
    assert testbed.service.accepted_values("closed") == [[1, 2, 3]]


def test_each_merged_sample_keeps_its_own_timestamp_and_models_are_one(outages: Testbed) -> None:
    device = outages.known_device("merged")
    outages.service.fail(UNAVAILABLE)
    device.heartbeat(TAG, 100, [1], [[5, None, [12]]])
    device.heartbeat(TAG, 160, [2], [[20, 3, [13]], [1]])
    device.heartbeat(TAG, 220, [3], None, None, None, 1)
    outages.service.failed("merged")
    expect_silence(device)
    outages.service.recover()
    assert device.ack(1) == (0, "")
    body = outages.service.heartbeat("merged")
    metric = {"Dimension": "sys", "MetricName": "free-heap"}
    assert body["AgentMetrics"] == [
        metric | {"Value": number, "Timestamp": EPOCH + time} for number, time in ((1, 100), (2, 160), (3, 220))
    ]
    latency = {"Dimension": "sys", "MetricName": "latency-ms"}
    assert body["Models"] == [
        {
            "ModelName": "keyword-spotting",
            "ModelVersion": "1.0",
            "LatestSampleTime": EPOCH + 140,
            "LatestInference": EPOCH + 157,
            "ModelMetrics": [
                latency | {"Value": 12, "Timestamp": EPOCH + 100},
                latency | {"Value": 13, "Timestamp": EPOCH + 160},
            ],
        },
        {"ModelName": "anomaly", "ModelVersion": "2.1", "LatestSampleTime": EPOCH + 159},
    ]


def test_a_merged_call_carries_one_result(outages: Testbed) -> None:
    """Results equal but for their times are one; a different one ends the merge before it."""
    device = outages.known_device("results")
    outages.service.fail(UNAVAILABLE)
    for number, result in enumerate([None, ["a", "OK", None, 9], ["a", "OK", None, 19], ["b", "OK"], None], 1):
        device.heartbeat(TAG, number, [number], None, None, result, number)
    outages.service.failed("results")
    expect_silence(device)
    outages.service.recover()
    assert device.ack(5) == (0, "")
    assert outages.service.accepted_values("results") == [[1, 2, 3], [4, 5]]
    names = [outages.service.heartbeat("results")["DeploymentResult"]["DeploymentName"] for _ in range(2)]
    assert names == ["a", "b"]


def test_heartbeats_of_two_layouts_are_not_merged(outages: Testbed) -> None:
    device = outages.known_device("layouts")
    outages.service.fail(UNAVAILABLE)
    device.numbered(1, 2)
    device.hello(TAG + 1, ["2.0.0", LAYOUT[1]], EPOCH)
    device.heartbeat(TAG + 1, 3, [3], None, None, None, 3)
    device.numbered(4)  # it waited under the older tag
    outages.service.failed("layouts")
    expect_silence(device)
    outages.service.recover()
    assert device.ack(4) == (0, "")
    assert outages.service.accepted_values("layouts") == [[1, 2], [3], [4]]
    versions = [outages.service.heartbeat("layouts")["AgentVersion"] for _ in range(3)]
    assert versions == ["1.0.0", "2.0.0", "1.0.0"]


def test_of_a_merged_call_only_the_heartbeat_at_fault_is_rejected(outages: Testbed) -> None:
    device = outages.known_device("one-bad")
    outages.service.fail(UNAVAILABLE)
    device.numbered(1, 2, 3, 4)
    outages.service.failed("one-bad")
    expect_silence(device)

    def rule(request: Request) -> Reply | None:
        values = [metric["Value"] for metric in request.json.get("AgentMetrics", [])]
        return Reply(400, "ValidationException") if 3 in values else None

    outages.service.answer_by(rule)
    assert device.ack(4) == (0, "")
    assert device.acked() == [(1, 0), (2, 0), (3, 4)]
    assert outages.service.accepted_values("one-bad") == [[1], [2], [4]]


@pytest.mark.parametrize("failing", ["SendHeartbeat", "GetDeviceRegistration"])
def test_a_message_that_keeps_failing_while_others_succeed_is_given_up(testbed: Testbed, failing: str) -> None:
    """The others fail once each: the gateway's own waits before the second attempts let the time pass."""
    testbed.open(give_up_after=1)
    operator, poor, lucky = testbed.operator(), testbed.known_device("poor"), testbed.known_device("lucky")
    seen: set[float] = set()

    def rule(request: Request) -> Reply | None:
        if request.device == "poor":
            return UNAVAILABLE if request.operation == failing else None
        if request.operation != "SendHeartbeat":
            return None
        value = request.json["AgentMetrics"][0]["Value"]
        fails = value not in seen
        seen.add(value)
        return UNAVAILABLE if fails else None

    testbed.service.answer_by(rule)
    poor.numbered(10_000)
    number = 0
    while not poor.acked():
        number += 1
        lucky.numbered(number)
        assert lucky.ack(number) == (0, "")
        assert number < 450, "behind the one that fails, the broker keeps what the intake does not take"
    assert poor.ack(10_000)[0] == 7
    assert operator.dead.next(lambda dead: dead.topic == poor.topic("dead")).properties["code"] == "7"
    testbed.service.recover()
    poor.numbered(10_001)
    assert poor.ack(10_001) == (0, "")
