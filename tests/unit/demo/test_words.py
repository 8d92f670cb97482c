"""How the demo tells what was seen: the words of each kind of sighting, how a line is drawn, how the table adds up."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.events import Call, Message
from gateway.demo.hints import BY_HAND, Place, lines
from gateway.demo.narration import Line, Tone, Way, tell
from gateway.demo.screen import ASCII, GARDEN, STREET, UNICODE, Row, Screen, drawn, ratio
from gateway.errors import Code
from gateway.protocol import codec
from gateway.protocol.messages import Ack, Device, Layout, Metric
from gateway.protocol.topics import Channel

LAYOUTS = {"dev-1": {1: Layout("1.0", (Metric("room", "beat"), Metric("room", "temp", -1)), ())}}
RESULT = {"DeploymentName": "d-1", "DeploymentStatus": "SUCCESS"}


def told(channel: Channel, payload: bytes) -> Line:
    return tell(Message(1.25, Device("demo", "dev-1"), channel, f"edge/demo/dev-1/{channel}", payload), LAYOUTS)


def call(operation: str, answer: Any, status: int = 200, **members: Any) -> Line:
    request = json.dumps({"DeviceName": "dev-1"} | members).encode()
    return tell(Call(1.25, operation, request, 0, status, json.dumps(answer).encode()), LAYOUTS)


@pytest.mark.parametrize(
    ("channel", "payload", "text", "tone"),
    [
        (Channel.HEARTBEAT, "9301 00 92 07 ccd7", "beat 7, temp 21.5", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9301 00 92 94 07 09 08 00 ccd7", "beat 8, temp 21.5", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9302 00 91 07", "of tag 2, whose hello was not seen", Tone.ROUTINE),
        (Channel.HEARTBEAT, "9601 00 c0 c0 c0 92 a1 64 a2 4f4b", "d: OK", Tone.GOOD),
        (Channel.HEARTBEAT, "c1", "not of the protocol: ", Tone.BAD),
        (Channel.HELLO, "", "taken back", Tone.NEWS),
        (Channel.GET, "", "asks for its plan, has none", Tone.NEWS),
        (Channel.GET, "91 ce 2bdd90c0", "asks for its plan, has 2bdd90c0", Tone.NEWS),
        (Channel.READ, "95 01 00 10 cd0200 04", "4 x 512 B from byte 16 on", Tone.ROUTINE),
        (Channel.PLAN, "92 07 90", "00000007: nothing is to be deployed", Tone.GOOD),
        (Channel.PLAN, "92 07 91 93 a1 64 00 91 94 a1 6d 01 c0 cd0400", "00000007: d = deploy m, 1,024 B", Tone.GOOD),
        (Channel.PLAN, "92 07 91 93 a1 64 00 91 92 a1 6d 00", "00000007: d = undeploy m", Tone.GOOD),
        (Channel.PLAN, "", "taken back", Tone.GOOD),
        (Channel.DEAD, "c1", "a refused payload, kept for the operator", Tone.BAD),
        (Channel.BLOCK, "95010002" + "08c402abcd", "████░░░░ 4 of 8 B", Tone.ROUTINE),
        (Channel.BLOCK, "c1", "not of the protocol", Tone.BAD),
    ],
)
def test_a_message_is_told_in_a_few_words(channel: Channel, payload: str, text: str, tone: Tone) -> None:
    line = told(channel, bytes.fromhex(payload))
    assert line.text[: len(text) or None] == text
    assert line.tone is tone
    assert line.label == f"{channel} {len(bytes.fromhex(payload))} B"


def test_an_ack_is_told_with_its_detail() -> None:
    good = told(Channel.ACK, codec.ack(Ack(7, Code.ACCEPTED, 5)))
    bad = told(Channel.ACK, codec.ack(Ack(None, Code.NOT_REGISTERED, 5, "why")))
    assert (good.text, good.tone) == ("code 0, accepted, seq 7", Tone.GOOD)
    assert (bad.text, bad.tone) == ("code 3, not registered, seq None: why", Tone.BAD)


def test_control_characters_of_a_device_reach_no_terminal() -> None:
    text = told(Channel.HEARTBEAT, bytes.fromhex("9601 00 c0 c0 c0 92 a1 64 a2 1b5b")).text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("line", "way", "label", "text"),
    [
        (call("SendHeartbeat", {}), Way.TO_MANAGER, "SendHeartbeat 23 B", ""),
        (call("SendHeartbeat", {}, DeploymentResult=RESULT), Way.TO_MANAGER, None, "d-1: SUCCESS"),
        (call("GetDeployments", {"Deployments": [{"DeploymentName": "d-1"}]}), Way.FROM_MANAGER, None, "d-1"),
        (call("GetDeviceRegistration", {"DeviceRegistration": "REGISTERED"}), Way.FROM_MANAGER, None, "REGISTERED"),
        (call("SendHeartbeat", {"Message": "no"}, 400), Way.TO_MANAGER, "SendHeartbeat: 400", "no"),
    ],
)
def test_a_call_is_told_in_a_few_words(line: Line, way: Way, label: str | None, text: str) -> None:
    assert (line.way, line.text, line.device) == (way, text, "dev-1")
    assert label in (line.label, None)


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("arrows", [UNICODE, ASCII])
def test_a_line_keeps_its_columns(way: Way, arrows: Any) -> None:
    label = "plan 131 B" if way in (Way.TO_GATEWAY, Way.TO_DEVICE) else "SendHeartbeat 1,045 B"
    text = drawn(Line(1.25, "dev-1", way, label, "what", Tone.ROUTINE), arrows, "cyan").plain
    assert text.index("gateway") == 12 + STREET + 1
    if way in (Way.TO_MANAGER, Way.FROM_MANAGER):
        assert text.index("Edge Manager") == 12 + STREET + 9 + GARDEN + 1
    assert text.endswith("  what")
    assert (arrows.right in text) is (way in (Way.TO_GATEWAY, Way.TO_MANAGER))


ROWS = [
    Row(f"dev-{n}", "MicroPython 1.29 in 64 KB", 5, "35195fc7", "SUCCESS", 160, 280, 2_930 + n, 4_000, 5, 150)
    for n in (1, 2, 3)
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, None])
def test_no_width_breaks_the_table_or_loses_a_figure(width: int | None) -> None:
    out = io.StringIO()
    Screen(["dev-1"], out, width).table(ROWS)
    shown = out.getvalue()
    assert "…" not in shown
    for figure in ("35195fc7", "160", "280", "2,931", "2,933", "480", "840", "8,796", "18.3 x", "12,000", "450"):
        assert figure in shown
    assert all(len(line) <= (width or 400) for line in shown.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_never_takes_two(width: int) -> None:
    out = io.StringIO()
    Screen(["dev-1"], out, width).line(Line(1.25, "dev-1", Way.TO_GATEWAY, "hb 28 B", "long " * 50, Tone.NEWS))
    (line,) = out.getvalue().splitlines()
    assert len(line) <= width


def test_a_ratio_of_nothing_is_none() -> None:
    assert ratio(ROWS[0]) == "18.3 x"
    assert ratio(Row("dev-1", "", 0, "", "", 0, 0, 0, 0, 0, 0)) == "-"


def test_the_heartbeat_to_type_is_one_of_the_protocol() -> None:
    heartbeat = codec.heartbeat(BY_HAND)
    assert heartbeat.source == Layout("by hand 1.0", (Metric("desk", "temperature", -1),), ())
    assert heartbeat.values == (215,)


def test_the_hints_name_the_real_ports_and_credentials() -> None:
    who = BrokerLogin("demo/dev-4", "secret-4")
    at = BrokerAddress("any", "127.0.0.1", 1884, 1883, who, who, True, True)
    place = Place(at, BrokerLogin("observer", "secret-o"), who, "py", Path("d"), "m", ("n", Path("f")), "http://h/")
    commands = [command for _, command in lines(place)]
    assert commands[0].startswith("mosquitto_sub -V 5 -h 127.0.0.1 -p 1884 -u observer -P secret-o ")
    assert "mosquitto_pub -h 127.0.0.1 -p 1883 -u demo/dev-4 -P secret-4 -q 1 -t edge/demo/dev-4/hb -s" in commands[1]
    assert commands[3:] == [
        "py manager status demo --data d",
        "py manager deploy demo --all n=f --data d",
        "py manager undeploy demo m --all --data d",
        "curl -s http://h/metrics",
    ]
