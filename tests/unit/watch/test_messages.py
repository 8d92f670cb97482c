"""What is shown of a message: as a line, and for programs."""

import json

import msgpack
import pytest

from gateway.protocol import Channel
from gateway.watch.messages import ANSWER_WAIT, MAX_TAGS, Describer, Received
from tests.support import vectors

AT = 1_795_458_600.25
PAYLOADS = {each["name"]: (each["channel"], vectors.payload(each)) for each in vectors.load("messages.json")}


def received(name: str, device: str = "fleet-a/dev-1", retained: bool = False) -> Received:
    channel, payload = PAYLOADS[name]
    return Received(AT, f"edge/{device}/{channel}", payload, retained)


@pytest.fixture
def describer() -> Describer:
    """It has seen the hello of the worked example."""
    made = Describer("edge")
    made.learn(received("hello-worked-example", retained=True))
    return made


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "hb-worked-example",
            "sys/free-heap 81344, sys/rssi -61, sys/temperature 36.5, keyword-spotting 1.0 sys/latency-ms 12, "
            "keyword-spotting 1.0 sys/confidence 0.5, tag 4711, time 89, models [(sample_age 4, inference_age 2)], "
            "have 735928559",
        ),
        (
            "hb-several",
            "sys/free-heap 81344 (40 s before), sys/free-heap 81200 (20 s before), sys/free-heap 81100, sys/rssi -61, "
            "tag 4711, time 89",
        ),
        ("hb-layout", "sys/free-heap 81344, layout (agent_version 1.0.0), time 1795458600"),
        (
            "hb-result",
            "tag 4711, time 89, have 735928559, result (deployment deploy-7, status SUCCESS, start_age 9, end_age 2, "
            "models [(handle kws, name keyword-spotting, version 1.1, desired DEPLOY, state DEPLOY, status SUCCESS)]), "
            "seq 17",
        ),
        (
            "hello-worked-example",
            "tag 4711, layout (agent_version 1.0.0, sys/free-heap, sys/rssi, sys/temperature e-1, keyword-spotting 1.0 "
            "[sys/latency-ms, sys/confidence e-2]), epoch 1795458600, max_payload 1024, flags 1",
        ),
        ("ack-unknown-tag", "seq 17, code 2 (unknown tag), time 1795458600"),
        ("ack-unknown-code", "seq 17, code 99 (unknown), time 1795458600"),
        ("block", "digest 735928559, index 0, offset 512, total 1000, data 20 bytes"),
        ("get-empty-payload", "have 0"),
        ("get-empty-array", "(nothing)"),
        ("live-asleep", "state 2, seconds 3600"),
        (
            "plan-one",
            "digest 735928559, deployments [(deployment deploy-7, policy ROLLBACK_ON_FAILURE, definitions [("
            "handle kws, state DEPLOY, checksum 000102030405060708090a0b0c0d0e0f10111213, size 25224, url s3://models/kws.tflite)])]",
        ),
    ],
)
def test_the_content_is_in_the_words_of_the_page(describer: Describer, name: str, text: str) -> None:
    shown = describer.describe(received(name))
    assert (shown.device, shown.problem, shown.text) == ("fleet-a/dev-1", None, text)


def test_without_the_hello_the_samples_have_no_names(describer: Describer) -> None:
    shown = describer.describe(received("hb-worked-example", "fleet-a/dev-2"))
    assert shown.text.startswith(
        "the hello of tag 4711 was not seen, tag 4711, time 89, values [81344, -61, 365], models"
    )


def test_a_hello_that_was_deleted_says_so(describer: Describer) -> None:
    shown = describer.describe(Received(AT, "edge/f/d/hello", b"", True))
    assert shown.text == "retained: empty: deletes what is retained"
    describer.learn(shown.received)  # and the tags that are known stay
    assert describer.describe(received("hb-worked-example")).samples


@pytest.mark.parametrize(
    ("topic", "payload", "text"),
    [
        ("edge/f/d/hb", b"\xff", "cannot be decoded: heartbeat: -1 where an array belongs, at byte 0 of 1; ff"),
        (
            "edge/f/d/ack",
            b"",
            "cannot be decoded: not msgpack (Unpack failed: incomplete input), at byte 0 of 0; no bytes",
        ),
        ("edge/f/d/hb", msgpack.packb([["1.0", []], 0, [1]]), "cannot be decoded: values: 1, the layout has 0; 939"),
        ("edge/f/d/dead", b"\x1b[2J", "refused payload: 1b5b324a"),
        ("edge/f a/d/hb", b"\x90", "cannot be decoded: fleet: 'f a' does not match DeviceFleetName's pattern"),
        ("edge/f/d/\x1b[2J", b"\x90", "cannot be decoded: topic 'edge/f/d/\\x1b[2J' is not edge/FLEET/DEVICE/CHANNEL"),
        (
            "edge/f/d/ack",
            msgpack.packb([1, 0, 2, "\x1b]0;x\x07\u202e"]),
            "seq 1, code 0 (accepted), time 2, detail ?]0;x??",
        ),
    ],
)
def test_what_devices_send_is_shown_with_its_reason_and_cannot_act_on_a_terminal(
    describer: Describer, topic: str, payload: bytes, text: str
) -> None:
    shown = describer.describe(Received(AT, topic, payload))
    assert shown.text.startswith(text)
    assert (shown.text + shown.device + shown.channel).isprintable()
    assert json.dumps(shown.as_json()).isascii()


def test_for_programs_a_message_is_an_object(describer: Describer) -> None:
    heartbeat = describer.describe(received("hb-worked-example")).as_json()
    assert heartbeat | {"samples": heartbeat["samples"][2:4]} == {
        "time": "2026-11-23T18:30:00.250Z",
        "from": "device",
        "device": "fleet-a/dev-1",
        "channel": "hb",
        "retained": False,
        "bytes": 28,
        "content": {
            "tag": 4711,
            "time": 89,
            "values": [81344, -61, 365],
            "models": [{"sample_age": 4, "inference_age": 2, "samples": [12, 50]}],
            "have": 735928559,
        },
        "samples": [
            {"model": None, "metric": "sys/temperature", "value": 36.5, "age": 0},
            {"model": "keyword-spotting 1.0", "metric": "sys/latency-ms", "value": 12, "age": 0},
        ],
    }
    dead = describer.describe(Received(AT, "edge/f/d/dead", b"\xff")).as_json()
    assert (dead["from"], dead["hex"], "content" in dead) == ("gateway", "ff", False)
    wrong = describer.describe(Received(AT, "edge/f/d/get", b"\xff")).as_json()
    assert (wrong["hex"], wrong["problem"]) == ("ff", "get: -1 where an array belongs, at byte 0 of 1")


def test_every_channel_has_a_direction(describer: Describer) -> None:
    shown = {each: describer.describe(Received(AT, f"edge/f/d/{each}", b"\x90")) for each in Channel}
    assert {each for each in Channel if shown[each].from_device} == {"hello", "hb", "get", "read", "live"}


def test_a_device_has_its_newest_tags(describer: Describer) -> None:
    for tag in range(MAX_TAGS):
        describer.learn(Received(AT, "edge/fleet-a/dev-1/hello", msgpack.packb([tag, ["1.0", [["sys", "rssi"]]]])))
    newest = describer.describe(Received(AT, "edge/fleet-a/dev-1/hb", msgpack.packb([0, 0, [5]])))
    assert newest.text == "sys/rssi 5, tag 0, time 0"
    assert describer.describe(received("hb-worked-example")).samples is None


def test_that_nothing_of_the_gateway_is_seen_is_said_once(describer: Describer) -> None:
    def message(name: str, at: float) -> bool:
        channel, payload = PAYLOADS[name]
        shown = describer.describe(Received(AT + at, f"edge/f/d/{channel}", payload))
        return describer.is_unanswered(shown)

    later = ANSWER_WAIT + 1
    assert not message("hb-least", 0)
    assert not message("hb-least", later)  # it asks for nothing
    assert not message("get-seq", later)
    assert not message("hb-least", later + ANSWER_WAIT)
    assert message("hb-least", 2 * later)
    assert not message("get-seq", 4 * later)


def test_where_the_gateway_answers_nothing_is_said(describer: Describer) -> None:
    for name, at in (("get-seq", 0.0), ("ack", 1.0), ("get-seq", 2.0), ("hb-least", 100.0)):
        channel, payload = PAYLOADS[name]
        assert not describer.is_unanswered(describer.describe(Received(AT + at, f"edge/f/d/{channel}", payload)))
