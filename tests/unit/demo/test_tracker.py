"""The demo's tracker: it counts events, names the first missing step, and finds differences to the manager's report."""

import json
from typing import Any

import pytest

from gateway.demo.events import CallEvent, Event, PublishEvent
from gateway.demo.tracker import MissingStep, Tracker, differences, missing_step
from gateway.errors import Code
from gateway.protocol import encoder
from gateway.protocol.messages import Ack, Device
from gateway.protocol.service_calls import Definition, Deployment
from gateway.protocol.topics import Channel

NAME = "dev-1"
HELLO = bytes.fromhex("94 01 93") + b"\xaedemo on Python" + bytes.fromhex("92 92 a1") + b"s" + bytes.fromhex("a4") + (
    b"beat" + bytes.fromhex("93 a1") + b"s" + bytes.fromhex("a4") + b"temp" + bytes.fromhex("ff 90 c0 cd0400")
)  # fmt: skip
PLAN = encoder.encode_plan((Deployment("d-1", None, (Definition("m", "DEPLOY"),)),))
BEAT = bytes.fromhex("9301 00 92 07 ccd7")
BEAT_OF_THREE = bytes.fromhex("9301 00 92 94 07 00 08 01 ccd7")
BEAT_WITH_PLAN = bytes.fromhex("9501 00 92 07 ccd7 c0 ce") + PLAN.digest.to_bytes(4, "big")


def message(channel: Channel, payload: bytes, name: str = NAME) -> PublishEvent:
    return PublishEvent(1.0, Device("demo", name), channel, f"edge/demo/{name}/{channel}", payload)


def call(operation: str = "SendHeartbeat", status: int = 200, **members: Any) -> CallEvent:
    return CallEvent(1.0, operation, json.dumps({"DeviceName": NAME} | members).encode(), 100, status, b"{}")


def beat_call(samples: int, **members: Any) -> CallEvent:
    return call(AgentMetrics=[{"Value": n} for n in range(samples)], **members)


RESULT = {"DeploymentName": "d-1", "DeploymentStatus": "SUCCESS"}
STEPS: list[Event] = [
    message(Channel.HELLO, HELLO),
    message(Channel.HEARTBEAT, BEAT),
    beat_call(2),
    message(Channel.PLAN, PLAN.payload),
    message(Channel.HEARTBEAT, BEAT_WITH_PLAN),
    beat_call(2, DeploymentResult=RESULT),
]


def tracker(*events: Event) -> Tracker:
    made = Tracker([NAME])
    for each in events:
        made.add(each)
    return made


@pytest.mark.parametrize(
    ("count", "missing", "part"),
    [
        (0, "it sent no hello", "device"),
        (1, "it sent no heartbeat", "device"),
        (2, "no SendHeartbeat for it was accepted", "gateway"),
        (3, "no plan with d-1 came on its topic", "gateway"),
        (4, "no DeploymentResult of d-1 for it was accepted", "device"),
        (5, "no DeploymentResult of d-1 for it was accepted", "device"),
    ],
)
def test_the_first_missing_step_is_named(count: int, missing: str, part: str) -> None:
    assert missing_step(tracker(*STEPS[:count]).devices[NAME], "d-1") == MissingStep(missing, part)


def test_with_all_steps_nothing_is_missing_and_all_is_counted() -> None:
    device = tracker(*STEPS).devices[NAME]
    assert missing_step(device, "d-1") is None
    assert device.runtime == "Python"
    assert (device.heartbeats, device.accepted, device.samples_sent, device.samples_accepted) == (2, 2, 4, 4)
    assert device.payload_bytes == len(BEAT) + len(BEAT_WITH_PLAN)
    assert device.json_bytes == sum(len(each.request) for each in STEPS if isinstance(each, CallEvent))
    assert device.http_bytes == device.json_bytes + 200


def test_a_result_that_is_no_success_is_named() -> None:
    failed = beat_call(2, DeploymentResult=RESULT | {"DeploymentStatus": "FAIL"})
    device = tracker(*STEPS[:5], failed).devices[NAME]
    assert missing_step(device, "d-1") == MissingStep("it reported that d-1 ended with FAIL", "device")


def test_a_device_that_never_names_the_plan_is_named() -> None:
    device = tracker(*STEPS[:4], beat_call(2, DeploymentResult=RESULT)).devices[NAME]
    assert missing_step(device, "d-1") == MissingStep("its heartbeats do not name the plan's digest", "device")


def test_a_call_is_early_until_its_heartbeat_is_observed() -> None:
    made = tracker(message(Channel.HELLO, HELLO))
    assert made.is_early(beat_call(3))
    made.add(message(Channel.HEARTBEAT, BEAT_OF_THREE))
    assert not made.is_early(beat_call(3))
    assert made.is_early(beat_call(4))
    assert not made.is_early(call("GetDeployments"))


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (
            message(Channel.ACK, encoder.encode_ack(Ack(1, Code.MALFORMED, 5, "why"))),
            "the gateway answered code 1: why",
        ),
        (call(status=503), "SendHeartbeat was answered 503"),
        (message(Channel.HEARTBEAT, b"\xc1"), "DecodeError: "),
        (message(Channel.PLAN, b"\x91"), "ValueError: cut short"),
    ],
)
def test_errors_are_kept_and_not_counted(event: Event, error: str) -> None:
    device = tracker(event).devices[NAME]
    assert [each[: len(error)] for each in device.errors] == [error]
    assert (device.heartbeats, device.accepted, device.digest) == (0, 0, None)


def test_other_devices_are_not_counted() -> None:
    made = tracker(message(Channel.HEARTBEAT, BEAT, "dev-9"), call("SendHeartbeat", DeviceName="dev-9"))
    assert made.devices[NAME].heartbeats == made.devices[NAME].accepted == 0


REPORT = {"accepted": 2, "results": [{"deployment": "d-1", "result": RESULT}]}


@pytest.mark.parametrize(
    ("report", "found"),
    [
        (REPORT, []),
        (REPORT | {"accepted": 3}, ["2 SendHeartbeat calls were answered 200, the manager counts 3"]),
        (REPORT | {"results": []}, ["the manager's result of d-1 is missing"]),
    ],
)
def test_the_managers_report_is_compared_with_the_events(report: dict[str, Any], found: list[str]) -> None:
    assert differences(tracker(*STEPS).devices[NAME], report, "d-1") == found


def test_a_sample_that_did_not_arrive_is_found() -> None:
    device = tracker(*STEPS, message(Channel.HEARTBEAT, BEAT)).devices[NAME]
    assert differences(device, REPORT, "d-1") == ["6 samples were sent, accepted calls had 4"]
