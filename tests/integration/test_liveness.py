"""From a real broker's last will to `manager status`: connected, asleep, gone, and connected again."""

from contextlib import ExitStack
from typing import Any

import msgpack
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.testbed import Testbed, gateway_before
from tests.support.manager_process import Manager
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import MQTT_3, MQTT_5, Login, PlainDevice
from tests.support.polling import until

GONE = msgpack.packb([0])
BEAT_S = 60


@pytest.fixture
def devices(testbed: Testbed) -> Any:
    """Makes connections of one device, with a last will; the last of them is for the end."""
    with ExitStack() as cleanup:

        def connect(protocol: MQTTProtocolVersion = MQTT_3) -> PlainDevice:
            at = testbed.broker.address
            user = f"{testbed.fleet}/d"
            credentials = testbed.broker.add_user(user)
            port = at.gateway_port if protocol == MQTT_5 and not at.has_acl else at.device_port
            login = Login(at.host, port, credentials.user, credentials.password)
            device = PlainDevice(login, user, protocol)
            device.leave_will(GONE)
            return cleanup.enter_context(device)

        yield connect


def until_state(manager: Manager, testbed: Testbed, state: str) -> dict[str, Any]:
    """The report in which the device has it."""
    reports = []

    def holds() -> bool:
        reports.append(manager.state_of(testbed.fleet))
        return bool(reports[-1]["liveness"]["state"] == state)

    until(holds, lambda: f"not {state}: {reports[-1]}")
    return reports[-1]


def test_what_an_operator_sees(testbed: Testbed, manager: Manager, devices: Any) -> None:
    manager.run("register", testbed.fleet, "d")
    gateway = gateway_before(manager, testbed)
    assert manager.state_of(testbed.fleet)["liveness"]["state"] == "never heard"
    device = devices()
    device.hello(TAG, LAYOUT, EPOCH)
    device.heartbeat(TAG, 89, [81344], None, None, None, 1)
    assert device.ack(1) == (0, "")
    before = manager.state_of(testbed.fleet)
    assert before["liveness"]["state"] == "not announced"

    device.live(1, BEAT_S)
    assert until_state(manager, testbed, "connected")["liveness"]["seconds"] == BEAT_S
    device.cut()
    gone = until_state(manager, testbed, "gone")
    assert gone["liveness"]["since"] >= before["newest"] - 1
    same = ("agent_version", "accepted", "newest", "metrics")
    assert [gone[each] for each in same] == [before[each] for each in same]
    assert "gone since" in manager.run("status", testbed.fleet).stdout

    again = devices()
    again.heartbeat(TAG, 149, [81000], None, None, None, 2)
    assert again.ack(2) == (0, "")
    assert manager.state_of(testbed.fleet)["liveness"]["state"] == "connected"
    again.live(2, 3600)
    asleep = until_state(manager, testbed, "asleep")["liveness"]
    again.disconnect()
    assert asleep["until"] == asleep["since"] + 3600
    assert gateway.metrics()['messages_received_total{channel="live"}'] == 3

    # DISCONNECT means no will: what comes next shows that none came before.
    last = devices()
    last.heartbeat(TAG, 209, None, None, None, None, 3)
    assert last.ack(3) == (0, "")
    assert manager.state_of(testbed.fleet)["liveness"]["state"] == "connected"


@pytest.mark.parametrize("protocol", [MQTT_3, MQTT_5], ids=["3.1.1", "5"])
def test_a_connection_that_takes_over_is_not_gone(
    testbed: Testbed, manager: Manager, devices: Any, protocol: MQTTProtocolVersion
) -> None:
    """Where the broker publishes the will of the older connection, it does so before anything of the newer."""
    manager.run("register", testbed.fleet, "d")
    gateway_before(manager, testbed)
    old = devices(protocol)
    old.live(1, BEAT_S)
    old.fall_silent()
    new = devices(protocol)
    new.live(1, BEAT_S + 1)
    reports = []

    def newer_is_known() -> bool:
        reports.append(manager.state_of(testbed.fleet)["liveness"])
        return bool(reports[-1]["seconds"] == BEAT_S + 1)

    until(newer_is_known, lambda: str(reports[-1]))
    assert reports[-1]["state"] == "connected"


def test_what_is_malformed_is_answered(testbed: Testbed) -> None:
    testbed.open()
    operator, device = testbed.operator(), testbed.device("d")
    device.live("gone")
    assert device.ack()[0] == 1
    assert operator.dead.next().payload == msgpack.packb(["gone"])


def test_what_is_retained_before_the_gateways_session_is_not_read(own_testbed: Testbed) -> None:
    """Its date is not known. (rumqttd sends it all the same.)"""
    device = own_testbed.device("d")
    device.live(2, 3600)
    gateway = own_testbed.open()
    device.live(1, BEAT_S)
    gateway.until_metric("heartbeats_accepted_total", 1)
    assert gateway.metrics()['messages_received_total{channel="live"}'] == 1
