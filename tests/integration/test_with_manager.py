"""A device, a broker, the gateway, and the embedded Edge Manager as its own process.

Killed with -9 in between, the manager has what it accepted, and the gateway what it did not.
"""

import hashlib
import itertools
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from gateway.core.registration import MAX_UNREGISTERED_TTL
from gateway.errors import Code
from gateway.manager.store import FILE, Place, open_store
from tests.integration.testbed import Testbed, gateway_before
from tests.support.manager_process import Manager
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import digest
from tests.support.polling import until
from tests.support.stores import stored_samples

MODEL = b"not a real model, but its bytes are counted and summed" * 100


def test_a_device_from_hello_to_result_with_the_manager_killed_in_between(
    testbed: Testbed, manager: Manager, tmp_path: Path
) -> None:
    file = tmp_path / "kws.tflite"
    file.write_bytes(MODEL)
    manager.run("register", testbed.fleet, "d")
    gateway, device = gateway_before(manager, testbed), testbed.device("d")
    device.hello(TAG, LAYOUT, EPOCH)

    # The first heartbeat; nothing is to be deployed.
    device.heartbeat(TAG, 89, [81344], [[4, 2, [12]]], 0, None, 1)
    assert device.ack(1) == (0, "")
    assert device.plan().content == [digest([]), []]

    # The manager dies while a heartbeat is under way, and has what it accepted.
    assert manager.end(signal.SIGKILL) == -signal.SIGKILL
    device.heartbeat(TAG, 149, [81000], None, None, None, 2)
    gateway.wait_for_log("a call to Edge Manager failed and is retried; messages stay queued at the broker")
    manager.start()
    assert device.ack(2) == (0, "")

    # A deployment: the plan comes by `have`, with the file's sum.
    manager.run("deploy", testbed.fleet, "d", f"kws={file}", "--name", "deploy-7")
    device.heartbeat(TAG, 209, None, None, digest([]), None, 3)
    found, deployments = device.plan().content
    ((name, policy, ((handle, state, checksum, _, url),)),) = deployments
    assert (name, policy, handle, state) == ("deploy-7", 0, "kws", 1)
    assert checksum == hashlib.sha1(MODEL, usedforsecurity=False).digest()
    assert found == digest([["deploy-7", 0, [["kws", 1, checksum, None, url]]]])

    # Its result, sent again until it is acked, over another death.
    assert device.ack(3) == (0, "")
    assert manager.end(signal.SIGKILL) == -signal.SIGKILL
    result = ["deploy-7", "SUCCESS", None, 9, 1, [["kws", "keyword-spotting", "1.0", 1, 1, 1]]]
    for seq in (4, 5):
        device.heartbeat(TAG, 269, None, None, found, result, seq)
    manager.start()
    device.get(found, 6)
    assert [device.ack(seq) for seq in (4, 5, 6)] == [(0, "")] * 3
    assert device.received.so_far() == [], "a plan that has not changed costs no message"

    report = manager.state_of(testbed.fleet)
    assert (report["device"], report["agent_version"]) == ("d", "1.0.0")
    assert {metric["name"]: metric["value"] for metric in report["metrics"]}["free-heap"] == 81000
    (kept,) = report["results"]
    model = {"ModelHandle": "kws", "ModelName": "keyword-spotting", "ModelVersion": "1.0"}
    assert kept["result"] == {
        "DeploymentName": "deploy-7",
        "DeploymentStatus": "SUCCESS",
        "DeploymentStartTime": EPOCH + 260,
        "DeploymentEndTime": EPOCH + 268,
        "DeploymentModels": [model | {"DesiredState": "DEPLOY", "State": "DEPLOY", "Status": "SUCCESS"}],
    }


def test_what_an_operator_does_reaches_a_device_with_its_next_heartbeat(
    testbed: Testbed, manager: Manager, tmp_path: Path
) -> None:
    """However long the gateway may keep an answer: it is registered, gets a plan, and is another device of its name."""
    file = tmp_path / "kws.tflite"
    file.write_bytes(MODEL)
    store = testbed.cleanup.enter_context(closing(open_store(Place(manager.data), create=False)))
    gateway_before(manager, testbed, plan_ttl=3600)
    device, seqs, nothing = testbed.device("d"), itertools.count(1), digest([])

    def code(have: int | None = None) -> int:
        """Of the ack of one heartbeat."""
        seq = next(seqs)
        device.heartbeat(LAYOUT, EPOCH, None, None, have, None, seq)
        return device.ack(seq)[0]

    assert code() == Code.NOT_REGISTERED
    store.write(lambda transaction: transaction.register(testbed.fleet, ["d"], time.time()))
    until(lambda: code() == Code.ACCEPTED, lambda: "still not registered", MAX_UNREGISTERED_TTL / 2)
    device.received.clear()  # that the plan of a device that is not registered ended
    assert [code(nothing), code(nothing)] == [Code.ACCEPTED] * 2
    manager.run("deploy", testbed.fleet, "d", f"kws={file}", "--name", "deploy-7")
    assert code(nothing) == Code.ACCEPTED
    assert device.plan().content[1][0][0] == "deploy-7"
    store.write(lambda transaction: transaction.deregister(testbed.fleet, "d"))
    store.write(lambda transaction: transaction.register(testbed.fleet, ["d"], time.time()))
    assert code() == Code.ACCEPTED
    assert device.plan().content == [nothing, []]


def test_the_managers_database_is_away_for_a_while(testbed: Testbed, manager: Manager) -> None:
    """Another process holds its lock for longer than a call waits: each heartbeat is acked later, and all are kept."""
    manager.run("register", testbed.fleet, "d")
    gateway, device = gateway_before(manager, testbed), testbed.device("d")
    device.hello(TAG, LAYOUT, EPOCH)
    device.numbered(1)
    assert device.ack(1) == (0, "")
    numbers = range(1, 301)
    with closing(sqlite3.connect(manager.data / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        device.numbered(*numbers[1:])
        event = "a call to Edge Manager failed and is retried; messages stay queued at the broker"
        assert "ServiceUnavailable" in str(gateway.wait_for_log(event))
    assert {device.ack(number) for number in numbers[1:]} == {(0, "")}
    assert manager.state_of(testbed.fleet)["accepted"] >= 1
    with closing(open_store(Place(manager.data), create=False, read_only=True)) as store:
        [samples] = store.read(stored_samples).values()
    assert {value for _, value in samples} == set(numbers)
