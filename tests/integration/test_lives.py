"""Deaths of gateway and broker: nothing accepted is lost, and no device is asked for its hello again.

That no hello was asked for shows in the acks: each seq comes back with code 0 and no other.
"""

import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.integration.conftest import Way
from tests.integration.forms import EPOCH, LAYOUT, TAG
from tests.support.edge_manager import UNAVAILABLE, Fault, Recorder
from tests.support.gateway_process import READY
from tests.support.plain_device import Stranger, stay_silent


def introduced(way: Way, name: str, epoch: int | None = EPOCH) -> Stranger:
    device = way.device(name)
    device.hello(TAG, LAYOUT, epoch)
    return device


def beat(device: Stranger, *numbers: int, tag: int = TAG) -> None:
    """Heartbeats whose number is their time, their only sample and their seq."""
    for number in numbers:
        device.heartbeat(tag, number, [number], None, None, None, number)


def accepted(recorder: Recorder, device: str) -> list[float]:
    """The values of all samples of a device that the service took, in their order."""
    wanted = ("SendHeartbeat", device, True)
    calls = [call for call in recorder.calls.so_far() if (call.operation, call.device, call.accepted) == wanted]
    return [metric["Value"] for call in calls for metric in call.body.get("AgentMetrics", [])]


def expect_acks(device: Stranger, *seqs: int) -> None:
    """Wait for code 0 of the last; those before it came in their order, and nothing else."""
    assert device.ack(seqs[-1]) == (0, "")
    assert device.acked() == [(seq, 0) for seq in seqs[:-1]]


def test_kill_9_with_messages_in_hand(way: Way) -> None:
    gateway, device = way.open(), introduced(way, "d")
    way.recorder.fail(UNAVAILABLE)
    beat(device, *range(1, 21))
    gateway.until_metric("unacknowledged_messages", 20)
    gateway.kill()
    beat(device, *range(21, 31))  # while nobody is there
    way.recorder.recover()
    gateway.start()
    expect_acks(device, *range(1, 31))
    assert accepted(way.recorder, "d") == list(range(1, 31))
    gateway.until_metric("unacknowledged_messages", 0)


def test_kill_9_between_the_call_and_its_settling_repeats_the_call(way: Way) -> None:
    """The service has it, the broker does not know: the same call comes again, with the same timestamps."""
    gateway, device = way.open(), introduced(way, "d")
    came, release = held_call(way.recorder)
    beat(device, 1)
    assert came.wait(10)
    gateway.kill()
    release.set()
    first = way.recorder.heartbeat("d")
    way.recorder.recover()
    gateway.start()
    expect_acks(device, 1)
    assert way.recorder.heartbeat("d") == first


def held_call(recorder: Recorder) -> tuple[threading.Event, threading.Event]:
    """The next SendHeartbeat sets the first event, and is answered once somebody sets the second."""
    came, release = threading.Event(), threading.Event()

    def judge(operation: str, body: dict[str, Any]) -> Fault | None:
        if operation == "SendHeartbeat":
            came.set()
            release.wait(60)
        return None

    recorder.judge = judge
    return came, release


def test_the_hello_is_only_at_the_broker(way: Way) -> None:
    gateway, device = way.open(), introduced(way, "d")
    beat(device, 1)
    expect_acks(device, 1)
    gateway.until_metric("unacknowledged_messages", 0)
    gateway.kill()
    shutil.rmtree(way.state)
    gateway.start()
    beat(device, 2)
    expect_acks(device, 2)


def test_what_waits_under_an_older_tag_is_understood_after_a_restart(way: Way) -> None:
    """The broker keeps one retained hello; the gateway the last four tags, over its own restart too."""
    gateway, device = way.open(), introduced(way, "d")
    way.recorder.fail(UNAVAILABLE)
    tags = [TAG + step for step in range(4)]
    for number, tag in enumerate(tags, 1):
        device.hello(tag, LAYOUT, EPOCH + number * 1000)
        beat(device, number, tag=tag)
    gateway.until_metric("unacknowledged_messages", 4)
    gateway.kill()
    way.recorder.recover()
    gateway.start()
    expect_acks(device, 1, 2, 3, 4)
    stamps = [metric["Timestamp"] for metric in way.recorder.heartbeat("d")["AgentMetrics"]]
    while len(stamps) < 4:  # merged or not: they came in their order
        stamps += [metric["Timestamp"] for metric in way.recorder.heartbeat("d")["AgentMetrics"]]
    assert stamps == [EPOCH + number * 1000 + number for number in (1, 2, 3, 4)]


def test_an_epoch_that_was_implied_outlives_the_gateway(way: Way) -> None:
    """Without a clock, a message that waited over a restart is dated by what earlier ones implied."""
    gateway, device = way.open(), introduced(way, "d", epoch=None)
    beat(device, 1000)
    first = way.recorder.heartbeat("d")["AgentMetrics"][0]["Timestamp"]
    gateway.until_metric("unacknowledged_messages", 0)
    gateway.kill()
    gateway.start()
    beat(device, 400)
    # kill -9 may have overtaken the PUBACK: then the first one comes again, before the second or merged with it.
    stamps = {first}
    while stamps == {first}:
        stamps = {metric["Timestamp"] for metric in way.recorder.heartbeat("d")["AgentMetrics"]}
    assert stamps <= {first, first - 600}


def stopped(broker: Mosquitto) -> None:
    broker.stop()


def killed(broker: Mosquitto) -> None:
    broker.save()
    broker.kill()


@pytest.mark.parametrize("end", [stopped, killed])
def test_the_broker_restarts_under_the_gateway(
    end: Callable[[Mosquitto], None], own_way: Way, own_mosquitto: Mosquitto
) -> None:
    """What it held un-acked it delivers again; what the gateway had of it is forgotten, so nothing comes twice."""
    gateway, device = own_way.open(), introduced(own_way, "d")
    own_way.recorder.fail(UNAVAILABLE)
    beat(device, 1, 2, 3)
    gateway.until_metric("unacknowledged_messages", 3)
    end(own_mosquitto)
    gateway.said("connection to the broker lost: it keeps unacknowledged messages")
    own_mosquitto.start()
    gateway.said(READY)
    device.back()
    gateway.until_metric('messages_received_total{channel="hb"}', 6)
    own_way.recorder.recover()
    beat(device, 4)
    assert device.ack(4) == (0, "")
    gateway.until_metric("unacknowledged_messages", 0)
    assert {(seq, code) for seq, code in device.acked()} == {(1, 0), (2, 0), (3, 0)}
    assert accepted(own_way.recorder, "d")[-1] == 4
    assert set(accepted(own_way.recorder, "d")) == {1, 2, 3, 4}


def test_sigterm_lets_the_call_in_flight_end_and_answers_it(way: Way) -> None:
    gateway, device = way.open(), introduced(way, "d")
    came, release = held_call(way.recorder)
    beat(device, 1)
    assert came.wait(10)
    gateway.ask_to_end()
    gateway.said("stopping: calls in flight end, the broker keeps the rest")
    release.set()
    assert gateway.ended() == 0
    assert gateway.said("stopped")["unacknowledged"] == 0
    expect_acks(device, 1)
    way.recorder.recover()
    gateway.start()
    beat(device, 2)
    expect_acks(device, 2)
    assert accepted(way.recorder, "d") == [1, 2]


def test_sigterm_in_an_outage_ends_every_wait_and_loses_nothing(way: Way) -> None:
    gateway, device = way.open(retry_base=30, retry_cap=3600), introduced(way, "d")
    way.recorder.fail(UNAVAILABLE)
    beat(device, 1, 2, 3)
    way.recorder.failed("d")
    gateway.until_metric("unacknowledged_messages", 3)
    assert gateway.terminate() == 0
    assert gateway.said("stopped")["unacknowledged"] == 3
    way.recorder.recover()
    gateway.start()
    expect_acks(device, 1, 2, 3)
    assert accepted(way.recorder, "d") == [1, 2, 3]


def test_drain_timeout_bounds_the_drain(way: Way) -> None:
    """The call in flight would wait for its answer far longer than the process may take to end."""
    gateway, device = way.open(drain_timeout=0.2, read_timeout=300), introduced(way, "d")
    came, release = held_call(way.recorder)
    beat(device, 1)
    assert came.wait(10)
    assert gateway.terminate() == 0
    release.set()
    gateway.said("drain_timeout is over: the broker delivers again what is not acknowledged")
    way.recorder.recover()
    gateway.start()
    expect_acks(device, 1)


KEEPALIVE = 2


def test_a_full_intake_stops_reading_and_stays_connected(way: Way) -> None:
    """The service is down for longer than 1.5 keepalives: a client that says nothing is thrown out meanwhile."""
    gateway = way.open(intake=10, keepalive=KEEPALIVE)
    way.recorder.fail(UNAVAILABLE)
    devices = [introduced(way, f"d-{index}") for index in range(3)]
    for device in devices:
        beat(device, *range(1, 21))
    gateway.until_metric("reading_paused", 1)
    stay_silent(way.service, KEEPALIVE)
    found = gateway.metrics()
    assert found["connected"] == 1
    # The intake was full once; hellos that were among its messages may have been settled since, and nothing else.
    assert found["messages_acknowledged_total"] <= len(devices)
    assert 10 - len(devices) <= found["unacknowledged_messages"] < 60
    way.recorder.recover()
    for index, device in enumerate(devices):
        expect_acks(device, *range(1, 21))
        assert accepted(way.recorder, f"d-{index}") == list(range(1, 21))
    gateway.until_metric("reading_paused", 0)
    assert READY not in [line["event"] for line in gateway.log.so_far()], "it had to connect anew"
