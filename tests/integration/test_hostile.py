"""What no device should send: each gets its code, is on `dead` byte for byte (what is too large: its head), is counted,
and the next passes.
"""

import base64
import json
import time
from dataclasses import dataclass

import msgpack
import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.hostile_payloads import HOSTILE, Hostile
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import Reply, Request
from tests.support.payloads import EPOCH, HELLO, LAYOUT, TAG, T
from tests.support.plain_device import Operator, PlainDevice

FLEET = fleet_of_a_module("hostile")
CODES = ["", "malformed", "unknown_tag", "not_registered", "refused", "unknown_plan", "too_large", "gave_up"]
MAX_PAYLOAD, HEAD_BYTES = 65_536, 256
ODD = "odd_name_"  # DeviceName ends with a letter or a digit


@dataclass
class WatchedTestbed:
    """A gateway, a person who watches its fleet, and a device whose messages must always pass."""

    testbed: Testbed
    operator: Operator
    good: PlainDevice
    seq: int = 1000

    def next_one_passes(self) -> None:
        self.seq += 1
        self.good.heartbeat(LAYOUT, T, [1], None, None, None, self.seq)
        assert self.good.ack(self.seq) == (0, "")

    def refused(self, code: int) -> float:
        return self.testbed.gateway.metrics()[f'messages_rejected_total{{code="{CODES[code]}"}}']


@pytest.fixture(scope="module")
def watched(broker: Broker, make_testbed: MakeTestbed) -> WatchedTestbed:
    names = [f"{FLEET}/bad-{index}" for index in range(len(HOSTILE))]
    broker.add_users(
        [*names, f"{FLEET}/{ODD}", *(f"{FLEET}/{name}" for name in ("good", "nobody", "big", "narrow", "picky"))]
    )
    testbed = make_testbed(broker, FLEET)
    testbed.open()
    return WatchedTestbed(testbed, testbed.operator(), testbed.device("good"))


@pytest.fixture(params=HOSTILE, ids=lambda hostile: hostile.name)
def hostile(request: pytest.FixtureRequest) -> tuple[int, Hostile]:
    return HOSTILE.index(request.param), request.param


def test_it_is_answered_dead_lettered_and_counted_and_the_next_one_passes(
    hostile: tuple[int, Hostile], watched: WatchedTestbed
) -> None:
    index, bad = hostile
    device = watched.testbed.device(f"bad-{index}")
    before = watched.refused(bad.code)
    device.send(bad.channel, bad.payload)
    expect_rejection(watched, device, bad.channel, bad.payload, bad.code, bad.seq, bad.detail)
    assert watched.refused(bad.code) == before + 1
    watched.next_one_passes()


def expect_rejection(
    watched: WatchedTestbed,
    device: PlainDevice,
    channel: str,
    payload: bytes,
    code: int,
    seq: int | None = None,
    detail: str = "",
) -> None:
    found, reason = device.ack(seq)
    assert (found, reason[: len(detail)]) == (code, detail)
    dead = watched.operator.dead.next(lambda dead: dead.topic == device.topic("dead"))
    whole = len(payload) <= MAX_PAYLOAD
    assert dead.payload == (payload if whole else payload[:HEAD_BYTES])
    assert dead.properties.get("size") == (None if whole else str(len(payload)))
    assert dead.properties["topic"] == device.topic(channel)
    assert dead.properties["code"] == str(code)
    assert dead.properties["reason"].startswith(reason)


def test_the_same_device_goes_on(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("recovering")
    device.hello(*HELLO)
    device.send("hb", b"\xc1")
    device.heartbeat(TAG, 89, [1], None, None, None, 1)
    assert device.ack()[0] == 1
    assert device.ack(1) == (0, "")


def test_an_unregistered_device(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("nobody")
    watched.testbed.service.registrations["nobody"] = "NOT_REGISTERED"
    for seq in (21, 22):  # the second is answered from what is known for a minute
        device.heartbeat(LAYOUT, T, [1], None, None, None, seq)
        payload = msgpack.packb([LAYOUT, T, [1], None, None, None, seq])
        expect_rejection(watched, device, "hb", payload, 3, seq)
    device.get(0, 23)
    expect_rejection(watched, device, "get", msgpack.packb([0, 23]), 3, 23)
    watched.next_one_passes()


def test_a_name_that_breaks_the_services_pattern(watched: WatchedTestbed) -> None:
    device = watched.testbed.device(ODD)
    payload = msgpack.packb([LAYOUT, T, [1]])
    device.send("hb", payload)
    expect_rejection(watched, device, "hb", payload, 4)
    watched.next_one_passes()


@pytest.mark.parametrize("ahead", [86_400 + 60, 7 * 86_400])
def test_more_than_a_day_ahead(ahead: int, watched: WatchedTestbed) -> None:
    device = watched.testbed.device("picky")
    payload = msgpack.packb([LAYOUT, int(time.time()) + ahead, None, None, None, None, 24])
    device.send("hb", payload)
    expect_rejection(watched, device, "hb", payload, 4, 24)


def test_what_the_service_rejects(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("picky")

    def rule(request: Request) -> Reply | None:
        refused = (request.operation, request.device) == ("SendHeartbeat", "picky")
        return Reply(400, "ValidationException") if refused else None

    watched.testbed.service.answer_by(rule)
    device.heartbeat(LAYOUT, T, [1], None, None, None, 25)
    payload = msgpack.packb([LAYOUT, T, [1], None, None, None, 25])
    expect_rejection(watched, device, "hb", payload, 4, 25, "ValidationException")
    watched.next_one_passes()
    watched.testbed.service.recover()


def test_a_plan_that_does_not_fit(watched: WatchedTestbed) -> None:
    """A get is answered with code 6 and dead-lettered; a heartbeat keeps its code 0, and code 6 goes once for a
    digest."""
    watched.testbed.service.deployments["big"] = [
        {"DeploymentName": f"deploy-{index}", "Type": "Model", "Definitions": []} for index in range(20)
    ]
    device = watched.testbed.device("big")
    device.hello(TAG, LAYOUT, EPOCH, 64)
    for seq in (31, 32):
        device.heartbeat(TAG, 89, None, None, 0, None, seq)
        assert device.ack(seq) == (0, "")
    device.get(0, 33)
    expect_rejection(watched, device, "get", msgpack.packb([0, 33]), 6, 33)
    assert [code for seq, code in device.acked() if seq is None] == [6]
    assert not [each for each in device.received.so_far() if each.channel == "plan"]
    watched.next_one_passes()


def test_an_ack_fits_the_device_too(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("narrow")
    device.hello(TAG, LAYOUT, EPOCH, 16)
    device.heartbeat(TAG, 89, [True], None, None, None, 34)
    received = device.received.next(lambda each: each.channel == "ack" and each.content[0] == 34)
    assert received.content[1] == 1
    assert len(msgpack.packb(received.content)) <= 16


def test_qos_2_is_understood_as_qos_1(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("careful", qos=2)
    device.heartbeat(LAYOUT, T, [1], None, None, None, 35)
    assert device.ack(35) == (0, "")
    payload = b"\xc1"
    device.send("hb", payload)
    expect_rejection(watched, device, "hb", payload, 1)


def test_topics_that_are_none_of_the_protocols_reach_nobody(watched: WatchedTestbed) -> None:
    device = watched.testbed.device("astray")
    for channel in ("hb/more", "HB", "hb/", "nothing"):
        device.send(channel, b"\xc1")
    device.heartbeat(LAYOUT, T, [1], None, None, None, 36)
    assert device.ack(36) == (0, "")
    assert device.acked() == []


def test_a_retained_heartbeat_is_not_taken_again_at_each_start(testbed: Testbed) -> None:
    gateway, device = testbed.open(), testbed.device("d")
    device.send("hb", msgpack.packb([LAYOUT, T, [1], None, None, None, 1]), retain=True)
    assert device.ack(1) == (0, "")
    gateway.terminate()
    gateway.start()
    device.heartbeat(LAYOUT, T, [2], None, None, None, 2)
    assert device.ack(2) == (0, "")
    values = [
        call.body["AgentMetrics"][0]["Value"] for call in testbed.service.calls.so_far() if "AgentMetrics" in call.body
    ]
    assert (values, device.acked()) == ([1, 2], [])


def test_where_nobody_watches_dead_the_payload_is_in_a_file(own_testbed: Testbed) -> None:
    """Byte for byte in base64, with what the user properties would have said. rumqttd never says that nobody is."""
    gateway, device = own_testbed.open(), own_testbed.device("bad")
    payload = b"\xc1\x00\xff"
    device.send("hb", payload)
    code, detail = device.ack()
    gateway.wait_for_log("payload not delivered on the topic dead: saved to a file")
    (line,) = (own_testbed.state / "dead.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert base64.b64decode(kept["payload"]) == payload
    assert (kept["topic"], kept["code"], kept["reason"]) == (device.topic("hb"), code, detail)
    assert gateway.metrics()["dead_letters_kept_total"] == 1
    device.heartbeat(LAYOUT, T, [1], None, None, None, 1)
    assert device.ack(1) == (0, "")
