"""The demo's narration: the line for each kind of event."""

import json
from typing import Any

import pytest

from gateway.demo.events import CallEvent, PublishEvent
from gateway.demo.narration import Direction, EventLine, Tone, describe
from gateway.errors import Code
from gateway.protocol import encoder
from gateway.protocol.messages import Ack, Device, Layout, Metric
from gateway.protocol.topics import Channel

LAYOUTS = {"dev-1": {1: Layout("1.0", (Metric("room", "beat"), Metric("room", "temp", -1)), ())}}
RESULT = {"DeploymentName": "d-1", "DeploymentStatus": "SUCCESS"}


def published(channel: Channel, payload: bytes) -> EventLine:
    return describe(
        PublishEvent(1.25, Device("demo", "dev-1"), channel, f"edge/demo/dev-1/{channel}", payload), LAYOUTS
    )


def call(operation: str, answer: Any, status: int = 200, **members: Any) -> EventLine:
    request = json.dumps({"DeviceName": "dev-1"} | members).encode()
    return describe(CallEvent(1.25, operation, request, 0, status, json.dumps(answer).encode()), LAYOUTS)


@pytest.mark.parametrize(
    ("channel", "payload", "text", "tone"),
    [
        (Channel.HEARTBEAT, "9301 00 92 07 ccd7", "beat 7, temp 21.5", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9301 00 92 94 07 09 08 00 ccd7", "beat 8, temp 21.5", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9302 00 91 07", "the hello with tag 2 was not observed", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9601 00 c0 c0 c0 92 a1 64 a2 4f4b", "d: OK", Tone.GOOD),
        (Channel.HEARTBEAT, "c1", "cannot be decoded: ", Tone.BAD),
        (Channel.HELLO, "", "deleted", Tone.NEWS),
        (Channel.GET, "", "asks for its plan, has none", Tone.NEWS),
        (Channel.GET, "91 ce 2bdd90c0", "asks for its plan, has 2bdd90c0", Tone.NEWS),
        (Channel.READ, "95 01 00 10 cd0200 04", "4 x 512 B from byte 16 on", Tone.ROUTINE),
        (Channel.LIVE, "92 02 3c", "state 2, seconds 60", Tone.NEWS),
        (Channel.LIVE, "", "deleted", Tone.NEWS),
        (Channel.PLAN, "92 07 90", "00000007: nothing to deploy", Tone.GOOD),
        (Channel.PLAN, "92 07 91 93 a1 64 00 91 94 a1 6d 01 c0 cd0400", "00000007: d = deploy m, 1,024 B", Tone.GOOD),
        (Channel.PLAN, "92 07 91 93 a1 64 00 91 92 a1 6d 00", "00000007: d = undeploy m", Tone.GOOD),
        (Channel.PLAN, "", "deleted", Tone.GOOD),
        (Channel.DEAD, "c1", "a rejected payload, kept for the operator", Tone.BAD),
        (Channel.BLOCK, "95010002" + "08c402abcd", "████░░░░ 4 of 8 B", Tone.ROUTINE),
        (Channel.BLOCK, "c1", "cannot be decoded", Tone.BAD),
    ],
)
def test_a_message_has_a_short_text(channel: Channel, payload: str, text: str, tone: Tone) -> None:
    line = published(channel, bytes.fromhex(payload))
    assert line.text[: len(text) or None] == text
    assert line.tone is tone
    assert line.label == f"{channel} {len(bytes.fromhex(payload))} B"


def test_an_ack_is_shown_with_its_detail() -> None:
    good = published(Channel.ACK, encoder.encode_ack(Ack(7, Code.ACCEPTED, 5)))
    bad = published(Channel.ACK, encoder.encode_ack(Ack(None, Code.NOT_REGISTERED, 5, "why")))
    assert (good.text, good.tone) == ("code 0, accepted, seq 7", Tone.GOOD)
    assert (bad.text, bad.tone) == ("code 3, not registered, seq None: why", Tone.BAD)


def test_control_characters_of_a_device_reach_no_terminal() -> None:
    text = published(Channel.HEARTBEAT, bytes.fromhex("9601 00 c0 c0 c0 92 a1 64 a2 1b5b")).text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("line", "direction", "label", "text"),
    [
        (call("SendHeartbeat", {}), Direction.TO_MANAGER, "SendHeartbeat 23 B", ""),
        (call("SendHeartbeat", {}, DeploymentResult=RESULT), Direction.TO_MANAGER, None, "d-1: SUCCESS"),
        (call("GetDeployments", {"Deployments": [{"DeploymentName": "d-1"}]}), Direction.FROM_MANAGER, None, "d-1"),
        (
            call("GetDeviceRegistration", {"DeviceRegistration": "REGISTERED"}),
            Direction.FROM_MANAGER,
            None,
            "REGISTERED",
        ),
        (call("SendHeartbeat", {"Message": "no"}, 400), Direction.TO_MANAGER, "SendHeartbeat: 400", "no"),
    ],
)
def test_a_call_has_a_short_text(line: EventLine, direction: Direction, label: str | None, text: str) -> None:
    assert (line.direction, line.text, line.device) == (direction, text, "dev-1")
    assert label in (line.label, None)
