"""The service fails: an outage is not an answer. Nothing is answered nor settled, and all of it is accepted afterwards.

Absence is shown by a sentinel: a malformed payload, sent last, is answered first.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.conftest import MakeWay, Way
from tests.integration.forms import EPOCH, LAYOUT, TAG
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import UNAVAILABLE, Fault, Recorder
from tests.support.plain_device import Stranger

FLEET = fleet_of_a_module("outages")
PAGE = "<html><body>Welcome to nginx!</body></html>"
FAULTS = {
    "503": UNAVAILABLE,
    "500 without a code": Fault(500),
    "429": Fault(429),
    "InternalServiceException with 400": Fault(400, "InternalServiceException"),
    "throttled": Fault(400, "ThrottlingException"),
    "access denied": Fault(403, "AccessDeniedException"),
    "expired credentials": Fault(400, "ExpiredTokenException"),
    "unknown credentials": Fault(403, "UnrecognizedClientException"),
    "wrong signature": Fault(403, "InvalidSignatureException"),
    "404": Fault(404, "UnknownOperationException"),
    "a page with 404": Fault(404, page=PAGE),
    "a page with 200": Fault(200, page=PAGE),
    "a page with 502": Fault(502, page=PAGE),
}


@pytest.fixture(scope="module")
def outages(broker: Broker, make_way: MakeWay) -> Way:
    way = make_way(broker, FLEET)
    way.open()
    return way


@pytest.fixture(autouse=True)
def _recovered(outages: Way) -> Iterator[None]:
    yield
    outages.recorder.recover()


def introduced(way: Way, name: str) -> Stranger:
    device = way.device(name)
    device.hello(TAG, LAYOUT, EPOCH)
    return device


def beat(device: Stranger, *numbers: int) -> None:
    """Heartbeats whose number is their time, their only sample and their seq."""
    for number in numbers:
        device.heartbeat(TAG, number, [number], None, None, None, number)


def samples(recorder: Recorder, device: str) -> list[list[float]]:
    """The values of each accepted SendHeartbeat of a device, in the order of the calls."""
    wanted = ("SendHeartbeat", device, True)
    calls = [call for call in recorder.calls.so_far() if (call.operation, call.device, call.accepted) == wanted]
    return [[metric["Value"] for metric in call.body["AgentMetrics"]] for call in calls]


def expect_silence(device: Stranger) -> None:
    device.send("hb", b"\xc1")
    assert device.ack()[0] == 1
    assert device.acked() == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("known", [True, False], ids=["registered before", "never heard of"])
def test_nothing_is_answered_and_then_all_is_accepted(
    fault: Fault, known: bool, outages: Way, request: pytest.FixtureRequest
) -> None:
    name = f"d-{list(FAULTS.values()).index(fault)}-{known}"
    device = introduced(outages, name)
    if known:
        beat(device, 0)
        assert device.ack(0) == (0, "")
        outages.recorder.calls.clear()
    outages.recorder.fail(fault)
    beat(device, 1, 2, 3, 4)
    outages.recorder.failed(name)
    expect_silence(device)
    outages.gateway.until_metric("unacknowledged_messages", 4)
    outages.recorder.recover()
    assert device.ack(4) == (0, "")
    assert device.acked() == [(1, 0), (2, 0), (3, 0)]
    assert samples(outages.recorder, name) == ([[1], [2, 3, 4]] if known else [[1, 2, 3, 4]])


def test_nobody_listens(way: Way) -> None:
    """In a gateway of its own, which says once in a while that calls fail."""
    way.open()
    device = introduced(way, "closed")
    way.recorder.close()
    beat(device, 1, 2, 3)
    way.gateway.said("a call to Edge Manager failed and is retried; messages stay queued at the broker")
    expect_silence(device)
    way.recorder.open()
    assert device.ack(3) == (0, "")
    assert device.acked() == [(1, 0), (2, 0)]
    assert samples(way.recorder, "closed") == [[1, 2, 3]]


def test_each_merged_sample_keeps_its_own_timestamp_and_models_are_one(outages: Way) -> None:
    device = introduced(outages, "merged")
    outages.recorder.fail(UNAVAILABLE)
    device.heartbeat(TAG, 100, [1], [[5, None, [12]]])
    device.heartbeat(TAG, 160, [2], [[20, 3, [13]], [1]])
    device.heartbeat(TAG, 220, [3], None, None, None, 1)
    outages.recorder.failed("merged")
    expect_silence(device)
    outages.recorder.recover()
    assert device.ack(1) == (0, "")
    body = outages.recorder.heartbeat("merged")
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


def test_a_merged_call_carries_one_result(outages: Way) -> None:
    """Results equal but for their times are one; a different one ends the merge before it."""
    device = introduced(outages, "results")
    outages.recorder.fail(UNAVAILABLE)
    for number, result in enumerate([None, ["a", "OK", None, 9], ["a", "OK", None, 19], ["b", "OK"], None], 1):
        device.heartbeat(TAG, number, [number], None, None, result, number)
    outages.recorder.failed("results")
    expect_silence(device)
    outages.recorder.recover()
    assert device.ack(5) == (0, "")
    assert samples(outages.recorder, "results") == [[1, 2, 3], [4, 5]]
    names = [outages.recorder.heartbeat("results")["DeploymentResult"]["DeploymentName"] for _ in range(2)]
    assert names == ["a", "b"]


def test_heartbeats_of_two_layouts_are_not_merged(outages: Way) -> None:
    device = introduced(outages, "layouts")
    outages.recorder.fail(UNAVAILABLE)
    beat(device, 1, 2)
    device.hello(TAG + 1, ["2.0.0", LAYOUT[1]], EPOCH)
    device.heartbeat(TAG + 1, 3, [3], None, None, None, 3)
    beat(device, 4)  # it waited under the older tag
    outages.recorder.failed("layouts")
    expect_silence(device)
    outages.recorder.recover()
    assert device.ack(4) == (0, "")
    assert samples(outages.recorder, "layouts") == [[1, 2], [3], [4]]
    versions = [outages.recorder.heartbeat("layouts")["AgentVersion"] for _ in range(3)]
    assert versions == ["1.0.0", "2.0.0", "1.0.0"]


def test_only_the_one_at_fault_of_a_merged_call_is_refused(outages: Way) -> None:
    device = introduced(outages, "one-bad")
    outages.recorder.fail(UNAVAILABLE)
    beat(device, 1, 2, 3, 4)
    outages.recorder.failed("one-bad")
    expect_silence(device)

    def judge(operation: str, body: dict[str, Any]) -> Fault | None:
        values = [metric["Value"] for metric in body.get("AgentMetrics", [])]
        return Fault(400, "ValidationException") if 3 in values else None

    outages.recorder.judge = judge
    assert device.ack(4) == (0, "")
    assert device.acked() == [(1, 0), (2, 0), (3, 4)]
    assert samples(outages.recorder, "one-bad") == [[1], [2], [4]]


@pytest.mark.parametrize("failing", ["SendHeartbeat", "GetDeviceRegistration"])
def test_one_that_keeps_failing_while_others_succeed_is_given_up(way: Way, failing: str) -> None:
    """The others fail once each: the gateway's own waits before the second attempts let the time pass."""
    way.open(give_up_after=1)
    operator, poor, lucky = way.operator(), introduced(way, "poor"), introduced(way, "lucky")
    seen: set[float] = set()

    def judge(operation: str, body: dict[str, Any]) -> Fault | None:
        if body["DeviceName"] == "poor":
            return UNAVAILABLE if operation == failing else None
        if operation != "SendHeartbeat":
            return None
        value = body["AgentMetrics"][0]["Value"]
        fails = value not in seen
        seen.add(value)
        return UNAVAILABLE if fails else None

    way.recorder.judge = judge
    beat(poor, 10_000)
    number = 0
    while not poor.acked():
        number += 1
        beat(lucky, number)
        assert lucky.ack(number) == (0, "")
        assert number < 450, "behind the one that fails, the broker keeps what the intake does not take"
    assert poor.ack(10_000)[0] == 7
    assert operator.dead.next(lambda dead: dead.topic == poor.topic("dead")).said["code"] == "7"
    way.recorder.recover()
    beat(poor, 10_001)
    assert poor.ack(10_001) == (0, "")
