"""Hellos end to end: late ones, bad ones, emptied ones, epochs that are filled in; what they say of dates."""

import time

import pytest

from gateway.demo.brokers.discovery import Broker
from tests.integration.testbed import MakeTestbed, Testbed
from tests.support.brokers import fleet_of_a_module
from tests.support.payloads import EPOCH, LAYOUT, TAG

FLEET = fleet_of_a_module("hellos")
LARGEST_SEQ = 2**64 - 1


@pytest.fixture(scope="module")
def hellos(broker: Broker, make_testbed: MakeTestbed) -> Testbed:
    testbed = make_testbed(broker, FLEET)
    testbed.open(hello_wait=5)
    return testbed


def stamp(testbed: Testbed, device: str) -> int:
    """The timestamp of the first sample of a device's next call."""
    return int(testbed.service.heartbeat(device)["AgentMetrics"][0]["Timestamp"])


def test_a_hello_that_comes_after_its_heartbeat(hellos: Testbed) -> None:
    device = hellos.device("late")
    device.heartbeat(TAG, 89, [1], None, None, None, 1)
    device.hello(TAG, LAYOUT, EPOCH)
    assert device.ack(1) == (0, "")
    assert stamp(hellos, "late") == EPOCH + 89


def test_a_heartbeat_of_an_unknown_tag_holds_only_its_own_device(hellos: Testbed) -> None:
    lost, other = hellos.device("lost"), hellos.device("other")
    lost.heartbeat(TAG, 89, [1], None, None, None, 1)
    other.heartbeat(LAYOUT, EPOCH, [1], None, None, None, 1)
    assert other.ack(1) == (0, "")
    assert lost.acked() == []
    lost.hello(TAG, LAYOUT, EPOCH)
    assert lost.ack(1) == (0, "")


def test_an_epoch_that_was_nil_is_filled_in(hellos: Testbed) -> None:
    """The device learns the time from an ack and publishes its hello again, under the same tag."""
    device = hellos.device("learner")
    device.hello(TAG, LAYOUT)
    began = int(time.time())
    device.heartbeat(TAG, 10, [1], None, None, None, 1)
    received = device.received.next(lambda each: each.channel == "ack")
    assert began <= stamp(hellos, "learner") <= received.content[2] <= time.time()
    device.hello(TAG, LAYOUT, EPOCH)
    device.heartbeat(TAG, 10, [2], None, None, None, 2)
    assert device.ack(2) == (0, "")
    assert stamp(hellos, "learner") == EPOCH + 10


def test_a_new_tag_has_its_own_epoch_and_the_old_one_keeps_its(hellos: Testbed) -> None:
    device = hellos.device("rebooted")
    device.hello(1, LAYOUT, EPOCH)
    device.hello(2, LAYOUT, EPOCH + 1000)
    for seq, tag in enumerate((2, 1), 1):
        device.heartbeat(tag, 5, [seq], None, None, None, seq)
        assert device.ack(seq) == (0, "")
    assert [stamp(hellos, "rebooted") for _ in range(2)] == [EPOCH + 1005, EPOCH + 5]


def test_boots_without_a_clock_are_dated_each_by_its_own_tag(hellos: Testbed) -> None:
    device = hellos.device("boots")
    began = int(time.time())
    for seq, (tag, uptime) in enumerate([(11, 90_000), (12, 3), (11, 89_940)], 1):
        device.hello(tag, LAYOUT)
        device.heartbeat(tag, uptime, [seq], None, None, None, seq)
        assert device.ack(seq) == (0, "")
    stamps = [stamp(hellos, "boots") for _ in range(3)]
    assert began <= stamps[0] <= stamps[1] <= time.time()
    assert stamps[2] == stamps[0] - 60, "it had waited"


def test_a_bad_hello_leaves_the_good_one_as_it_is(hellos: Testbed) -> None:
    device = hellos.device("clumsy")
    device.hello(TAG, LAYOUT, EPOCH)
    device.hello(TAG, ["1.0.0", [["sys", "cpu"]]], EPOCH + 1000)
    code, detail = device.ack()
    assert (code, detail[:6]) == (4, "hello:")
    device.heartbeat(TAG, 89, [1], None, None, None, 1)
    assert device.ack(1) == (0, "")
    assert stamp(hellos, "clumsy") == EPOCH + 89


def test_an_emptied_hello_is_none_and_no_mistake(hellos: Testbed) -> None:
    device = hellos.device("leaver")
    device.hello(TAG, LAYOUT, EPOCH)
    device.send("hello", b"")
    device.heartbeat(TAG, 89, [1], None, None, None, LARGEST_SEQ)
    assert device.ack(LARGEST_SEQ) == (0, ""), "the tag is known as before"
    assert device.acked() == []


def test_max_payload_of_a_hello_that_came_before_the_gateway_holds_for_its_first_plan(testbed: Testbed) -> None:
    """A retained hello limits the plan of a device that sends its layout along: the broker is asked first."""
    testbed.service.deployments["d"] = [{"DeploymentName": f"deploy-{number}"} for number in range(20)]
    device = testbed.device("d")
    device.hello(TAG, LAYOUT, EPOCH, 64)
    testbed.open()
    device.get(0, 1)
    assert device.ack(1)[0] == 6
    device.heartbeat(LAYOUT, EPOCH, [1], None, 0, None, 2)
    assert device.ack(2) == (0, "")
    device.get(0, 3)
    assert device.ack(3)[0] == 6
    assert [each.channel for each in device.received.so_far()] == []
