"""What the broker keeps for a device ends with it: a new device of its name gets nothing that was meant for the other.

What is retained comes first after a subscription: before the answer to anything that the device publishes then.
"""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.discovery import Broker
from gateway.manager.rollouts import actions
from gateway.manager.store import ObjectStore, Place, Store, Transaction, open_store
from tests.integration.testbed import MakeTestbed, Testbed, gateway_before
from tests.support.brokers import fleet_of_a_module
from tests.support.edge_manager import Reply, Request
from tests.support.manager_process import Manager
from tests.support.payloads import TAG
from tests.support.plain_device import PlainDevice, Received, digest
from tests.support.site import HOST, SiteBroker, devices

FLEET = fleet_of_a_module("ended")
DEPLOYMENT = {"DeploymentName": "old", "FailureHandlingPolicy": "DO_NOTHING", "Definitions": []}
OLD = ["old", 1, []]
NOTHING = [digest([]), []]
REFUSALS = {
    "access denied": Reply(403, "AccessDeniedException"),
    "throttled": Reply(429, "ThrottlingException"),
    "down": Reply(503, "ServiceUnavailable"),
    "no such device": Reply(400, "ValidationException"),
    "not JSON": Reply(200, body="<html>", kind="text/html"),
}


@pytest.fixture(scope="module")
def ended(broker: Broker, make_testbed: MakeTestbed) -> Testbed:
    testbed = make_testbed(broker, FLEET)
    testbed.open(plan_ttl=0)
    return testbed


def device_with_a_plan(testbed: Testbed, name: str) -> PlainDevice:
    """The broker keeps its hello and its plan."""
    testbed.service.deployments[name] = [DEPLOYMENT]
    device = testbed.known_device(name)
    device.get(0, 1)
    assert device.plan().content == [digest([OLD]), [OLD]]
    assert device.ack(1) == (0, "")
    return device


def forget(testbed: Testbed) -> None:
    """The service keeps no answer to GetDeviceRegistration; what its tests say holds."""
    registrations = testbed.service.registrations

    def answer(request: Request) -> Reply | None:
        if request.operation != "GetDeviceRegistration":
            return None
        status = registrations.get(request.device, "REGISTERED")
        return Reply(body=json.dumps({"DeviceRegistration": status, "CacheTTL": "0"}))

    testbed.service.answer_by(answer)


def first_plan_of_a_new_board(testbed: Testbed, name: str) -> Received:
    """It has another layout and no hello."""
    testbed.service.deployments[name] = []
    board = testbed.device(name)
    board.get(None, 9)
    assert board.ack(9) == (0, "")
    return board.plan()


def test_a_new_board_gets_nothing_of_a_deregistered_one(ended: Testbed) -> None:
    forget(ended)
    old = device_with_a_plan(ended, "heard")
    ended.service.registrations["heard"] = "NOT_REGISTERED"
    old.heartbeat(TAG, 89, None, None, digest([OLD]), None, 2)
    assert old.ack(2)[0] == 3
    assert old.plan().content is None  # empty
    old.disconnect()
    del ended.service.registrations["heard"]
    assert first_plan_of_a_new_board(ended, "heard") == Received("plan", NOTHING, retained=False)


def test_the_same_where_it_sends_nothing_more(ended: Testbed) -> None:
    forget(ended)
    old = device_with_a_plan(ended, "silent")
    ended.service.registrations["silent"] = "NOT_REGISTERED"
    assert old.plan().content is None
    old.disconnect()
    del ended.service.registrations["silent"]
    assert first_plan_of_a_new_board(ended, "silent") == Received("plan", NOTHING, retained=False)


def test_the_same_where_the_gateway_was_away(testbed: Testbed) -> None:
    gateway = testbed.open(plan_ttl=0)
    old = device_with_a_plan(testbed, "d")
    gateway.kill()
    testbed.service.registrations["d"] = "NOT_REGISTERED"
    gateway.start()
    assert old.plan().content is None
    gateway.until_metric("retained_deleted_total", 1.0)


def test_a_device_that_is_registered_again_gets_its_plan_again(ended: Testbed) -> None:
    """Its tag is still known, and it need not publish its hello again."""
    forget(ended)
    device = device_with_a_plan(ended, "again")
    ended.service.registrations["again"] = "NOT_REGISTERED"
    assert device.plan().content is None
    del ended.service.registrations["again"]
    device.heartbeat(TAG, 89, None, None, 0, None, 2)
    assert device.ack(2) == (0, "")
    assert device.plan().content == [digest([OLD]), [OLD]]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_service_that_refuses_says_nothing_of_a_device(ended: Testbed, refusal: Reply) -> None:
    name = f"refused-{list(REFUSALS.values()).index(refusal)}"
    forget(ended)
    device = device_with_a_plan(ended, name)
    device.disconnect()
    ended.service.fail(refusal)
    ended.service.calls.clear()
    ended.service.calls.next(lambda call: (call.operation, call.device) == ("GetDeviceRegistration", name))
    ended.service.recover()
    assert first_plan_of_a_new_board(ended, name) == Received("plan", [digest([OLD]), [OLD]], retained=True)


def deploy_old(store: Store, data: Path, fleet: str, device: str) -> None:
    file = data.parent / "kws.tflite"
    file.write_bytes(b"a model")
    number = store.read(lambda transaction: transaction.device_ids(fleet))[device]
    files = {"kws": ObjectStore(data, store).put_file(file, "models", "kws")}
    new = actions.NewDeployment(fleet, ["kws"], f"old-{device}")
    actions.deploy(store, new, {device: number}, files, {}, now=time.time())


def register_anew(store: Store, fleet: str, device: str) -> None:
    """In one transaction: no gateway can ask between."""

    def work(transaction: Transaction) -> None:
        transaction.deregister(fleet, device)
        transaction.register(fleet, [device], time.time())

    store.write(work)


def test_a_new_registration_replaces_the_plan(testbed: Testbed, tmp_path: Path) -> None:
    """By the manager's RegistrationTime, also where nobody asked between; over a restart of the gateway too."""
    fleet, names = testbed.fleet, ["d", "e"]
    manager = Manager(tmp_path / "manager", ["--registered-ttl", "0"])
    manager.data.mkdir()
    manager.start()
    testbed.cleanup.callback(manager.stop)
    store = testbed.cleanup.enter_context(closing(open_store(Place(manager.data), create=False)))
    store.write(lambda transaction: transaction.register(fleet, names, time.time()))
    gateway = gateway_before(manager, testbed)
    boards = {}
    for name in names:
        deploy_old(store, manager.data, fleet, name)
        boards[name] = testbed.known_device(name)
        boards[name].get(0, 1)
        assert boards[name].plan().content[1][0][0] == f"old-{name}"
        assert boards[name].ack(1) == (0, "")
    register_anew(store, fleet, "d")
    assert boards["d"].plan().content == NOTHING
    gateway.kill()
    register_anew(store, fleet, "e")
    gateway.start()
    assert boards["e"].plan().content == NOTHING
    for name, board in boards.items():
        board.disconnect()
        assert testbed.device(name).plan() == Received("plan", NOTHING, retained=True)


def test_devices_remove_deletes_what_the_broker_keeps(site: SiteBroker) -> None:
    site.add("fleet-r", "a", "b", "--broker", f"mqtts://localhost:{site.ports['password']}")
    gateway = site.login_of("gateway", "gateway")
    with gateway.connected("another-gateway", MQTTProtocolVersion.MQTTv5) as service:
        for name in ("a", "b"):
            login = site.login("password", f"fleet-r/{name}")
            with login.connected(f"fleet-r/{name}", MQTTProtocolVersion.MQTTv311) as board:
                board.publish(f"edge/fleet-r/{name}/hello", b"hello", retain=True)
                board.publish(f"edge/fleet-r/{name}/live", b"live", retain=True)
            service.publish(f"edge/fleet-r/{name}/plan", b"old", retain=True)
        broker = f"mqtts://localhost:{site.ports['gateway']}"
        done = devices(site.site, "remove", "fleet-r", "a", "--mqtt-url", broker)
        assert (done.exit_code, "deleted what the broker kept" in done.stdout) == (0, True), done.output
        site.add("fleet-r", "a", "--broker", f"mqtts://localhost:{site.ports['password']}")
        with site.login("password", "fleet-r/a").connected("fleet-r/a", MQTTProtocolVersion.MQTTv311) as board:
            board.subscribe("edge/fleet-r/a/plan")
            service.publish("edge/fleet-r/a/plan", b"new")
            assert board.next() == ("edge/fleet-r/a/plan", b"new")
            service.subscribe("edge/fleet-r/+/hello", "edge/fleet-r/+/live")
            board.publish("edge/fleet-r/a/hello", b"sentinel")
            kept = [service.next() for _ in range(3)]
    assert sorted(kept) == [
        ("edge/fleet-r/a/hello", b"sentinel"),
        ("edge/fleet-r/b/hello", b"hello"),
        ("edge/fleet-r/b/live", b"live"),
    ]
    refused = devices(site.site, "remove", "fleet-r", "a", "--mqtt-url", f"mqtt://127.0.0.1:{free_ports(1, HOST)[0]}")
    assert refused.exit_code == 2
    assert "is not deleted" in refused.stderr
