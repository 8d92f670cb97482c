"""The demo's record: it counts what was seen, names the first thing that was not, and notices contradictions."""

import json
from typing import Any

import pytest

from gateway.demo.events import Call, Message
from gateway.demo.tracker import Lack, Record, contradictions, lack
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


def message(channel: Channel, payload: bytes, name: str = NAME) -> Message:
    return Message(1.0, Device("demo", name), channel, f"edge/demo/{name}/{channel}", payload)


def call(operation: str = "SendHeartbeat", status: int = 200, **members: Any) -> Call:
    return Call(1.0, operation, json.dumps({"DeviceName": NAME} | members).encode(), 100, status, b"{}")


def beat_call(samples: int, **members: Any) -> Call:
    return call(AgentMetrics=[{"Value": n} for n in range(samples)], **members)


RESULT = {"DeploymentName": "d-1", "DeploymentStatus": "SUCCESS"}
WAY = [
    message(Channel.HELLO, HELLO),
    message(Channel.HEARTBEAT, BEAT),
    beat_call(2),
    message(Channel.PLAN, PLAN.payload),
    message(Channel.HEARTBEAT, BEAT_WITH_PLAN),
    beat_call(2, DeploymentResult=RESULT),
]


def record(*sightings: Message | Call) -> Record:
    made = Record([NAME])
    for each in sightings:
        made.add(each)
    return made


@pytest.mark.parametrize(
    ("seen", "missing", "part"),
    [
        (0, "it said no hello", "device"),
        (1, "it sent no heartbeat", "device"),
        (2, "no SendHeartbeat for it was accepted", "gateway"),
        (3, "no plan with d-1 came on its topic", "gateway"),
        (4, "no DeploymentResult of d-1 for it was accepted", "device"),
        (5, "no DeploymentResult of d-1 for it was accepted", "device"),
    ],
)
def test_the_first_thing_that_was_not_seen_is_named(seen: int, missing: str, part: str) -> None:
    assert lack(record(*WAY[:seen]).devices[NAME], "d-1") == Lack(missing, part)


def test_the_whole_way_lacks_nothing_and_is_counted() -> None:
    device = record(*WAY).devices[NAME]
    assert lack(device, "d-1") is None
    assert device.runtime == "Python"
    assert (device.heartbeats, device.accepted, device.samples_sent, device.samples_accepted) == (2, 2, 4, 4)
    assert device.payload_bytes == len(BEAT) + len(BEAT_WITH_PLAN)
    assert device.json_bytes == sum(len(each.request) for each in WAY if isinstance(each, Call))
    assert device.http_bytes == device.json_bytes + 200


def test_a_result_that_is_no_success_is_named() -> None:
    failed = beat_call(2, DeploymentResult=RESULT | {"DeploymentStatus": "FAIL"})
    device = record(*WAY[:5], failed).devices[NAME]
    assert lack(device, "d-1") == Lack("it told that d-1 ended with FAIL", "device")


def test_a_device_that_never_names_the_plan_is_named() -> None:
    device = record(*WAY[:4], beat_call(2, DeploymentResult=RESULT)).devices[NAME]
    assert lack(device, "d-1") == Lack("its heartbeats do not name the plan's digest", "device")


def test_a_call_is_early_until_its_heartbeat_was_seen() -> None:
    made = record(message(Channel.HELLO, HELLO))
    assert made.is_early(beat_call(3))
    made.add(message(Channel.HEARTBEAT, BEAT_OF_THREE))
    assert not made.is_early(beat_call(3))
    assert made.is_early(beat_call(4))
    assert not made.is_early(call("GetDeployments"))


@pytest.mark.parametrize(
    ("sighting", "refusal"),
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
def test_what_went_wrong_is_kept_and_not_counted(sighting: Message | Call, refusal: str) -> None:
    device = record(sighting).devices[NAME]
    assert [each[: len(refusal)] for each in device.refusals] == [refusal]
    assert (device.heartbeats, device.accepted, device.digest) == (0, 0, None)


def test_strangers_teach_nothing() -> None:
    made = record(message(Channel.HEARTBEAT, BEAT, "dev-9"), call("SendHeartbeat", DeviceName="dev-9"))
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
def test_the_managers_word_is_held_against_what_was_seen(report: dict[str, Any], found: list[str]) -> None:
    assert contradictions(record(*WAY).devices[NAME], report, "d-1") == found


def test_a_sample_that_did_not_arrive_is_noticed() -> None:
    device = record(*WAY, message(Channel.HEARTBEAT, BEAT)).devices[NAME]
    assert contradictions(device, REPORT, "d-1") == ["6 samples were sent, 4 stood in accepted calls"]


@pytest.mark.parametrize(("size", "packet"), [(0, 24), (105, 129), (106, 131), (16_361, 16_386), (16_362, 16_388)])
def test_a_packet_is_as_long_as_mqtt_makes_it(size: int, packet: int) -> None:
    sighting = message(Channel.HEARTBEAT, bytes(size))
    assert len(sighting.topic) == 18
    assert sighting.packet == packet
