"""Restarts of gateway and broker: nothing accepted is lost, and no device is asked for its hello again.

That no hello was asked for shows in the acks: each seq comes back with code 0 and no other.
"""

import shutil
import threading
from collections.abc import Callable

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.testbed import Testbed
from tests.support.arrivals import DEADLINE_S
from tests.support.edge_manager import UNAVAILABLE, RecordingEdgeManager, Reply, Request
from tests.support.gateway_process import READY
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import PlainDevice, send_nothing


def accepted(testbed: Testbed, device: str) -> list[float]:
    """The values of all samples of a device that the service took, in their order."""
    return [value for values in testbed.service.accepted_values(device) for value in values]


def expect_acks(device: PlainDevice, *seqs: int) -> None:
    """Wait for code 0 of the last; those before it came in their order, and nothing else."""
    assert device.ack(seqs[-1]) == (0, "")
    assert device.acked() == [(seq, 0) for seq in seqs[:-1]]


def test_kill_9_with_unacknowledged_messages(testbed: Testbed) -> None:
    gateway, device = testbed.open(), testbed.known_device("d")
    testbed.service.fail(UNAVAILABLE)
    device.numbered(*range(1, 21))
    gateway.until_metric("unacknowledged_messages", 20)
    gateway.kill()
    device.numbered(*range(21, 31))  # while nobody is there
    testbed.service.recover()
    gateway.start()
    expect_acks(device, *range(1, 31))
    assert accepted(testbed, "d") == list(range(1, 31))
    gateway.until_metric("unacknowledged_messages", 0)


def test_kill_9_between_the_call_and_its_acknowledgement_repeats_the_call(testbed: Testbed) -> None:
    """The service has it, the broker does not know: the same call comes again, with the same timestamps."""
    gateway, device = testbed.open(), testbed.known_device("d")
    came, release = held_call(testbed.service)
    device.numbered(1)
    assert came.wait(DEADLINE_S)
    gateway.kill()
    release.set()
    first = testbed.service.heartbeat("d")
    testbed.service.recover()
    gateway.start()
    expect_acks(device, 1)
    assert testbed.service.heartbeat("d") == first


def held_call(service: RecordingEdgeManager) -> tuple[threading.Event, threading.Event]:
    """The next SendHeartbeat sets the first event, and is answered once somebody sets the second."""
    came, release = threading.Event(), threading.Event()

    def rule(request: Request) -> Reply | None:
        if request.operation == "SendHeartbeat":
            came.set()
            release.wait(60)
        return None

    service.answer_by(rule)
    return came, release


def test_the_hello_is_only_at_the_broker(testbed: Testbed) -> None:
    gateway, device = testbed.open(), testbed.known_device("d")
    device.numbered(1)
    expect_acks(device, 1)
    gateway.kill()
    shutil.rmtree(testbed.state)
    gateway.start()
    device.numbered(2)
    assert device.ack(2) == (0, "")
    assert set(device.acked()) <= {(1, 0)}, "kill -9 may have overtaken the PUBACK of the first"


def test_what_waits_under_an_older_tag_is_understood_after_a_restart(testbed: Testbed) -> None:
    """The broker keeps one retained hello; the gateway the last four tags, over its own restart too."""
    gateway, device = testbed.open(), testbed.known_device("d")
    testbed.service.fail(UNAVAILABLE)
    tags = [TAG + step for step in range(4)]
    for number, tag in enumerate(tags, 1):
        device.hello(tag, LAYOUT, EPOCH + number * 1000)
        device.numbered(number, tag=tag)
    gateway.until_metric("unacknowledged_messages", 4)
    gateway.kill()
    testbed.service.recover()
    gateway.start()
    expect_acks(device, 1, 2, 3, 4)
    stamps = [metric["Timestamp"] for metric in testbed.service.heartbeat("d")["AgentMetrics"]]
    while len(stamps) < 4:  # merged or not: they came in their order
        stamps += [metric["Timestamp"] for metric in testbed.service.heartbeat("d")["AgentMetrics"]]
    assert stamps == [EPOCH + number * 1000 + number for number in (1, 2, 3, 4)]


def test_an_inferred_epoch_survives_the_gateway(testbed: Testbed) -> None:
    """Without a clock, a message that waited over a restart is dated by what earlier ones implied."""
    gateway, device = testbed.open(), testbed.known_device("d", epoch=None)
    device.numbered(1000)
    first = testbed.service.heartbeat("d")["AgentMetrics"][0]["Timestamp"]
    gateway.until_metric("unacknowledged_messages", 0)
    gateway.kill()
    gateway.start()
    device.numbered(400)
    # kill -9 may have overtaken the PUBACK: then the first one comes again, before the second or merged with it.
    stamps = {first}
    while stamps == {first}:
        stamps = {metric["Timestamp"] for metric in testbed.service.heartbeat("d")["AgentMetrics"]}
    assert stamps <= {first, first - 600}


def stopped(broker: Mosquitto) -> None:
    broker.stop()


def killed(broker: Mosquitto) -> None:
    broker.save()
    broker.kill()


@pytest.mark.parametrize("end", [stopped, killed])
def test_the_broker_restarts_under_the_gateway(
    end: Callable[[Mosquitto], None], own_testbed: Testbed, own_mosquitto: Mosquitto
) -> None:
    """It delivers again what was not acknowledged; the gateway forgets what it had of it, so nothing comes twice."""
    gateway, device = own_testbed.open(), own_testbed.known_device("d")
    own_testbed.service.fail(UNAVAILABLE)
    device.numbered(1, 2, 3)
    gateway.until_metric("unacknowledged_messages", 3)
    end(own_mosquitto)
    gateway.wait_for_log("connection to the broker lost: it keeps unacknowledged messages")
    own_mosquitto.start()
    gateway.wait_for_log(READY)
    device.wait_resubscribed()
    gateway.until_metric('messages_received_total{channel="hb"}', 6)
    own_testbed.service.recover()
    device.numbered(4)
    assert device.ack(4) == (0, "")
    gateway.until_metric("unacknowledged_messages", 0)
    assert {(seq, code) for seq, code in device.acked()} == {(1, 0), (2, 0), (3, 0)}
    assert accepted(own_testbed, "d")[-1] == 4
    assert set(accepted(own_testbed, "d")) == {1, 2, 3, 4}


def test_sigterm_lets_the_call_in_flight_end_and_answers_it(testbed: Testbed) -> None:
    gateway, device = testbed.open(), testbed.known_device("d")
    came, release = held_call(testbed.service)
    device.numbered(1)
    assert came.wait(DEADLINE_S)
    gateway.send_sigterm()
    gateway.wait_for_log("stopping: calls in flight end, the broker keeps the rest")
    release.set()
    assert gateway.wait() == 0
    assert gateway.wait_for_log("stopped")["unacknowledged"] == 0
    expect_acks(device, 1)
    testbed.service.recover()
    gateway.start()
    device.numbered(2)
    expect_acks(device, 2)
    assert accepted(testbed, "d") == [1, 2]


def test_sigterm_in_an_outage_ends_every_wait_and_loses_nothing(testbed: Testbed) -> None:
    gateway, device = testbed.open(retry_base=30, retry_cap=3600), testbed.known_device("d")
    testbed.service.fail(UNAVAILABLE)
    device.numbered(1, 2, 3)
    testbed.service.failed("d")
    gateway.until_metric("unacknowledged_messages", 3)
    assert gateway.terminate() == 0
    assert gateway.wait_for_log("stopped")["unacknowledged"] == 3
    testbed.service.recover()
    gateway.start()
    expect_acks(device, 1, 2, 3)
    assert accepted(testbed, "d") == [1, 2, 3]


def test_drain_timeout_bounds_the_drain(testbed: Testbed) -> None:
    """The call in flight would wait for its answer far longer than the process may take to end."""
    gateway, device = testbed.open(drain_timeout=0.2, read_timeout=300), testbed.known_device("d")
    came, release = held_call(testbed.service)
    device.numbered(1)
    assert came.wait(DEADLINE_S)
    assert gateway.terminate() == 0
    release.set()
    gateway.wait_for_log("drain_timeout is over: the broker delivers again what is not acknowledged")
    testbed.service.recover()
    gateway.start()
    expect_acks(device, 1)


KEEPALIVE = 2


def test_a_full_intake_stops_reading_and_stays_connected(testbed: Testbed) -> None:
    """The service is down for longer than 1.5 keepalives: the broker would disconnect a client that sends nothing."""
    gateway = testbed.open(intake=10, keepalive=KEEPALIVE)
    testbed.service.fail(UNAVAILABLE)
    devices = [testbed.known_device(f"d-{index}") for index in range(3)]
    for device in devices:
        device.numbered(*range(1, 21))
    gateway.until_metric("reading_paused", 1)
    send_nothing(testbed.gateway_login, KEEPALIVE)
    found = gateway.metrics()
    assert found["connected"] == 1
    # The intake was full once; hellos that were among its messages may have been acknowledged since, and nothing else.
    assert found["messages_acknowledged_total"] <= len(devices)
    assert 10 - len(devices) <= found["unacknowledged_messages"] < 60
    testbed.service.recover()
    for index, device in enumerate(devices):
        expect_acks(device, *range(1, 21))
        assert accepted(testbed, f"d-{index}") == list(range(1, 21))
    gateway.until_metric("reading_paused", 0)
    assert READY not in [line["event"] for line in gateway.log.so_far()], "it had to connect again"
