"""A `live` is a heartbeat with a layout of its own: one more call of its device, in its order."""

import msgpack

from gateway.core.engine import Policy
from gateway.core.merging import KEPT_DECODED
from gateway.errors import Code
from gateway.protocol import LIVENESS, Device, Heartbeat, decode_live
from gateway.protocol.service_calls import Accepted, Registration, RetryLater, SendHeartbeat
from tests.support.engine import ACCEPTED, DEVICE, LAYOUT, EngineHarness, acknowledged, calls, codes, heartbeat

GONE, CONNECTED, ASLEEP = [0], [1, 60], [2, 3600]


LONG = msgpack.packb([*ASLEEP, "a" * KEPT_DECODED])
"""With an element of a later version."""


def live(value: list[int]) -> Heartbeat:
    message = decode_live(msgpack.packb(value))
    assert message is not None
    return message


def said(call: SendHeartbeat) -> list[tuple[str, float, int]]:
    """(name, value, date) of each metric; all are of the dimension `liveness`."""
    assert {metric.dimension for metric, _, _ in call.metrics} == {"liveness"}
    return [(metric.name, value, at) for metric, value, at in call.metrics]


def test_it_is_a_call_with_two_metrics_dated_by_its_arrival(harness: EngineHarness) -> None:
    effects = harness.receive(live(ASLEEP))
    [call] = calls(effects)
    at = int(harness.wall)
    assert said(call) == [("state", 2, at), ("seconds", 3600, at)]
    assert (call.agent_version, call.models, call.result) == (LAYOUT.agent_version, (), None)
    effects = harness.resolve(ACCEPTED)
    assert (codes(effects), acknowledged(effects)) == ([], [1])


def test_gone_has_no_seconds(harness: EngineHarness) -> None:
    [call] = calls(harness.receive(live(GONE)))
    assert said(call) == [("state", 0, int(harness.wall))]


def test_without_a_hello_the_agent_version_is_unknown() -> None:
    harness = EngineHarness(Policy(ask_registration=False))
    [call] = calls(harness.receive(live(CONNECTED), Device("fleet-a", "dev-9")))
    assert call.agent_version == LIVENESS.agent_version == "unknown"


def test_the_order_of_a_device_is_kept_and_states_in_a_row_are_one_call(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    for message in (live(GONE), live(CONNECTED), heartbeat(2), live(ASLEEP)):
        harness.receive(message)
    sent = [call for _ in range(3) for call in calls(harness.resolve(ACCEPTED))]
    assert [len(call.metrics) for call in sent] == [3, 1, 2]
    assert [name for name, _, _ in said(sent[0])] == ["state", "state", "seconds"]
    assert [value for _, value, _ in said(sent[0])] == [0, 1, 60]
    assert sent[1].metrics[0][0].dimension != "liveness"


def test_it_is_retried_as_it_was_dated(harness: EngineHarness) -> None:
    at = int(harness.wall)
    harness.receive(live(GONE))
    harness.wait(60)
    harness.resolve(RetryLater(only_this_device=True))
    [call] = calls(harness.engine.retry_due(DEVICE, harness.now))
    assert said(call) == [("state", 0, at)]


def test_what_the_broker_delivers_again_after_a_reconnect_is_not_sent_twice(harness: EngineHarness) -> None:
    harness.receive(heartbeat(1))
    harness.receive(live(GONE))
    harness.engine.reconnected(2, True, harness.now)
    harness.connection = 2
    assert calls(harness.receive(live(GONE))) == []
    assert [said(call)[0][1] for call in calls(harness.resolve(ACCEPTED))] == [0]
    assert calls(harness.resolve(ACCEPTED)) == []


def test_while_the_clock_is_wrong_it_waits_and_is_dated_by_its_arrival() -> None:
    harness = EngineHarness(Policy(ask_registration=False), wall=100.0)
    harness.restore_hello()
    assert harness.receive(live(ASLEEP)) != []  # the clock is reported
    harness.wait(30)
    harness.wall += 1_795_458_600
    effects = harness.engine.check_clock(harness.now)
    assert [said(call) for call in calls(effects)] == [
        [("state", 2, int(harness.wall) - 30), ("seconds", 3600, int(harness.wall) - 30)]
    ]


def test_a_long_one_waits_as_it_is(harness: EngineHarness) -> None:
    """The payload of a long heartbeat is decoded again when its call is made: as a heartbeat."""
    harness.receive(heartbeat(1))
    harness.receive(live(ASLEEP), payload=LONG)
    [call] = calls(harness.resolve(ACCEPTED))
    harness.resolve(RetryLater(only_this_device=True))
    assert calls(harness.engine.retry_due(DEVICE, harness.now)) == [call]
    assert [value for _, value, _ in said(call)] == ASLEEP


def test_a_long_one_waits_for_the_clock_as_it_is() -> None:
    harness = EngineHarness(Policy(ask_registration=False), wall=100.0)
    harness.receive(live(ASLEEP), payload=LONG)
    harness.wall += 1_795_458_600
    [call] = calls(harness.engine.check_clock(harness.now))
    assert [value for _, value, _ in said(call)] == ASLEEP


def test_a_device_that_is_not_registered_gets_code_3() -> None:
    harness = EngineHarness(Policy())
    harness.receive(live(CONNECTED))
    effects = harness.resolve(Accepted(Registration("NOT_REGISTERED", 60.0)))
    assert codes(effects) == [(None, Code.NOT_REGISTERED)]


def test_the_layout_of_all_devices_with_one_version_is_one(harness: EngineHarness) -> None:
    """What waits in an outage takes no layout of its own."""
    harness.receive(heartbeat(1))
    harness.receive(live(GONE))
    harness.receive(live(CONNECTED))
    layouts = [item.layout for item in harness.engine._states[DEVICE].waiting or ()]
    assert layouts[0] is layouts[1] is not None
