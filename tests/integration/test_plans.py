"""How the plan reaches the device: retained, by `have` and by `get`, with the digest that the protocol page defines.

Silence is shown by a sentinel: the next message on the topic is one that was caused later.
"""

import time
from typing import Any

import msgpack
import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import Reply, Request
from tests.support.payloads import EPOCH, LAYOUT, TAG, T
from tests.support.plain_device import PlainDevice, Received, digest

FLEET = fleet_of_a_module("plans")
SUM = "a9993e364706816aba3e25717850c26c9cd0d89d"
URL = "s3://models/kws.tflite"
DEPLOYMENT = {
    "DeploymentName": "deploy-7",
    "Type": "Model",
    "FailureHandlingPolicy": "ROLLBACK_ON_FAILURE",
    "Definitions": [
        {"ModelHandle": "kws", "State": "DEPLOY", "S3Url": URL, "Checksum": {"Type": "SHA1", "Sum": SUM}},
    ],
}
WIRED = ["deploy-7", 0, [["kws", 1, bytes.fromhex(SUM), None, URL]]]
OTHER = {"DeploymentName": "deploy-8", "Type": "Model", "FailureHandlingPolicy": "DO_NOTHING", "Definitions": []}
OTHER_WIRED = ["deploy-8", 1, []]
UNDEPLOY = {"ModelHandle": "kws", "State": "UNDEPLOY"}

# What GetDeployments answers, and the deployments list of the plan, by hand.
PLANS: list[tuple[str, list[dict[str, Any]], list[Any]]] = [
    ("one", [DEPLOYMENT], [WIRED]),
    ("none", [], []),
    ("the services order", [OTHER, DEPLOYMENT], [OTHER_WIRED, WIRED]),
    ("undeploy", [DEPLOYMENT | {"Definitions": [UNDEPLOY]}], [["deploy-7", 0, [["kws", 0]]]]),
    ("another type", [OTHER | {"Type": "Container"}], [["deploy-8", 1, [], "Container"]]),
    (
        "another checksum",
        [OTHER | {"Definitions": [UNDEPLOY | {"Checksum": {"Type": "MD5", "Sum": "abc"}}]}],
        [["deploy-8", 1, [["kws", 0, "abc", None, None, "MD5"]]]],
    ),
    ("enums that nobody knows", [OTHER | {"FailureHandlingPolicy": "ASK"}], [["deploy-8", "ASK", []]]),
    ("members that are missing", [{"DeploymentName": "d"}, {}], [["d"], []]),
]


@pytest.fixture(scope="module")
def plans(broker: Broker, make_testbed: MakeTestbed) -> Testbed:
    testbed = make_testbed(broker, FLEET)
    testbed.open(plan_ttl=0)
    return testbed


def device_with(testbed: Testbed, name: str, deployments: list[dict[str, Any]], *limits: int | None) -> PlainDevice:
    testbed.service.deployments[name] = deployments
    device = testbed.device(name)
    device.hello(TAG, LAYOUT, EPOCH, *limits)
    return device


def heartbeat_with(device: PlainDevice, have: int | None, seq: int) -> None:
    device.heartbeat(TAG, 89, None, None, have, None, seq)
    assert device.ack(seq) == (0, "")


def content(deployments: list[Any]) -> list[Any]:
    return [digest(deployments), deployments]


@pytest.mark.parametrize(("index", "plan"), list(enumerate(PLANS)), ids=[name for name, _, _ in PLANS])
def test_get_brings_the_plan_and_its_ack(index: int, plan: tuple[str, Any, Any], plans: Testbed) -> None:
    _, deployments, wired = plan
    device = device_with(plans, f"get-{index}", deployments)
    device.get(0, 2**40)
    assert device.plan() == Received("plan", content(wired), retained=False)
    assert device.ack(2**40) == (0, "")


def test_one_digest_worked_out_by_hand() -> None:
    """`printf '\\x90' | sha256sum` begins 9e076cea: the tests' own helper, compared with a sum made elsewhere."""
    assert msgpack.packb([]) == b"\x90"
    assert digest([]) == 0x9E076CEA & 0x3FFFFFFF


def test_an_empty_payload_is_a_get_that_has_nothing(plans: Testbed) -> None:
    device = device_with(plans, "empty", [DEPLOYMENT])
    device.send("get", b"")
    assert device.plan().content == content([WIRED])


def test_have_differs_and_the_plan_comes_once(plans: Testbed) -> None:
    device = device_with(plans, "differs", [DEPLOYMENT])
    for seq in (1, 2):  # the same digest again at most once a minute
        heartbeat_with(device, 0, seq)
        plans.service.wait_for_get_deployments("differs")
    plans.service.deployments["differs"] = [OTHER]
    device.get(0, 3)
    assert device.ack(3) == (0, "")
    came = [each.content for each in device.received.so_far() if each.channel == "plan"]
    assert came == [content([WIRED]), content([OTHER_WIRED])]


def test_have_is_equal_and_nothing_is_published(plans: Testbed) -> None:
    device = device_with(plans, "equal", [DEPLOYMENT])
    heartbeat_with(device, digest([WIRED]), 1)
    plans.service.wait_for_get_deployments("equal")
    device.get(digest([WIRED]), 2)
    assert device.ack(2) == (0, "")
    plans.service.deployments["equal"] = [OTHER]
    heartbeat_with(device, digest([WIRED]), 3)
    assert device.plan().content == content([OTHER_WIRED])


def test_without_have_the_service_is_not_asked(plans: Testbed) -> None:
    device = device_with(plans, "silent", [DEPLOYMENT])
    heartbeat_with(device, None, 1)
    device.get(0, 2)
    assert device.ack(2) == (0, "")
    operations = [call.operation for call in plans.service.calls.so_far() if call.device == "silent"]
    assert operations == ["GetDeviceRegistration", "SendHeartbeat", "GetDeployments"]


def test_have_of_an_empty_plan(plans: Testbed) -> None:
    device = device_with(plans, "nothing", [])
    heartbeat_with(device, digest([WIRED]), 1)
    assert device.plan().content == content([])


def test_flags_leave_the_urls_out_and_the_digest_as_it_is(plans: Testbed) -> None:
    device = device_with(plans, "no-urls", [DEPLOYMENT, OTHER], None, 1)
    heartbeat_with(device, 0, 1)
    bare = [["deploy-7", 0, [["kws", 1, bytes.fromhex(SUM)]]], OTHER_WIRED]
    assert device.plan().content == [digest([WIRED, OTHER_WIRED]), bare]


def test_a_sleeping_device_gets_it_when_it_subscribes(plans: Testbed) -> None:
    awake = device_with(plans, "sleeper", [DEPLOYMENT])
    awake.get(0, 1)
    assert awake.ack(1) == (0, "")
    awake.disconnect()
    woken = plans.device("sleeper")
    assert woken.plan() == Received("plan", content([WIRED]), retained=True)


def test_a_device_without_a_hello_has_its_plan_too(plans: Testbed) -> None:
    plans.service.deployments["plain"] = [DEPLOYMENT]
    device = plans.device("plain")
    device.heartbeat(LAYOUT, T, None, None, 0)
    assert device.plan().content == content([WIRED])


def test_a_failing_get_deployments_neither_holds_nor_fails_the_heartbeat(plans: Testbed) -> None:
    device = device_with(plans, "unlucky", [DEPLOYMENT])

    def rule(request: Request) -> Reply | None:
        fails = (request.operation, request.device) == ("GetDeployments", "unlucky")
        return Reply(400, "InternalServiceException") if fails else None

    plans.service.answer_by(rule)
    heartbeat_with(device, 0, 1)
    plans.service.failed("unlucky")
    heartbeat_with(device, 0, 2)
    plans.service.failed("unlucky")
    plans.service.recover()
    heartbeat_with(device, 0, 3)
    assert device.plan().content == content([WIRED])


@pytest.mark.parametrize("seq", [0, 127, 128, 2**31, 2**32, 2**64 - 1])
def test_seq_is_echoed_and_never_interpreted(seq: int, plans: Testbed) -> None:
    device = device_with(plans, f"seq-{seq}", [])
    heartbeat_with(device, None, seq)
    device.get(None, seq)
    assert device.ack(seq) == (0, "")


def test_acks_have_the_time(plans: Testbed) -> None:
    """A device without a clock sets its own by it, so it is the gateway's clock now, in Unix seconds."""
    device = device_with(plans, "clockless", [])
    began = int(time.time())
    device.heartbeat([*LAYOUT[:1], LAYOUT[1]], None, [7], None, None, None, 1)
    received = device.received.next(lambda each: each.channel == "ack")
    arrived = plans.service.heartbeat("clockless")["AgentMetrics"][0]["Timestamp"]
    assert received.content[:2] == [1, 0]
    assert began <= arrived <= received.content[2] <= time.time()
