"""The disk is full: under the broker, under the gateway."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.brokers.address import both_listeners_answer
from gateway.demo.brokers.mosquitto import Mosquitto
from tests.faults.scenario import Report, Scenario, scaled
from tests.support import brokers
from tests.support.arrivals import DEADLINE_S
from tests.support.disks import fill, make_room, small_disk

FULL = "No space left on device"


@pytest.fixture
def cramped(tmp_path: Path, report: Report) -> Iterator[tuple[Scenario, Mosquitto, Path]]:
    """A Mosquitto whose data has a disk of its own, and the folder of that."""
    data = tmp_path / "mosquitto" / "data"
    with (
        small_disk(data, scaled(2048, 65536)),
        brokers.own_mosquitto(tmp_path / "mosquitto") as broker,
        Scenario(broker, "faults", tmp_path, report) as scenario,
    ):
        yield scenario, broker, data


def fill_disk_and_save(scenario: Scenario, broker: Mosquitto, data: Path) -> None:
    """The save breaks off in the middle, and the older one stays."""
    fill(data, leaving=16)
    errors = broker.log.count(FULL)
    os.kill(broker.pid, signal.SIGUSR1)
    scenario.until(lambda: broker.log.count(FULL) > errors, "the broker did not log that the disk is full")


def test_the_brokers_disk_is_full(cramped: tuple[Scenario, Mosquitto, Path]) -> None:
    """It goes on from memory; once there is space again, a stop saves all.

    2.1.2 frees something twice after a save that failed, and dies: as if it were killed.
    """
    scenario, broker, data = cramped
    gateway = scenario.gateway()
    devices, waiting = scaled(20, 200), scaled(50, 200)
    scenario.join(devices, wants_acks=False)
    scenario.beat()
    scenario.until_through()
    gateway.kill()
    scenario.beat(waiting)
    scenario.until_confirmed()
    fill_disk_and_save(scenario, broker, data)
    alive = both_listeners_answer(broker.address, DEADLINE_S)
    if alive:
        scenario.beat()
        scenario.until_confirmed()
    make_room(data)
    broker.stop()
    broker.start()
    gateway.start()
    scenario.beat()
    if alive:
        scenario.until_through()
        scenario.check_ledger()
    else:
        since = devices * waiting
        scenario.until_decided()
        scenario.check_ledger(f"the broker died; sent since the last save and not asked for {since:,}", forgiven=since)


def test_the_broker_is_stopped_while_its_disk_is_full(cramped: tuple[Scenario, Mosquitto, Path]) -> None:
    """It comes back with its last save: what was asked for is sent again, the rest since then is lost."""
    scenario, broker, data = cramped
    gateway = scenario.gateway()
    for device in scenario.join(scaled(10, 100), resend_after=1.0, prefix="asks"):
        scenario.call(device.report_result, f"of-{device.name}")
    unasked, after = scaled(10, 100), scaled(50, 200)
    scenario.join(unasked, wants_acks=False)
    scenario.beat()
    scenario.until_through()
    gateway.kill()
    scenario.beat(10)
    scenario.until_confirmed()
    broker.save()
    scenario.beat(after)
    scenario.until_confirmed()
    fill_disk_and_save(scenario, broker, data)
    broker.stop()
    broker.start()
    gateway.start()
    scenario.beat()
    scenario.until_decided()
    since = unasked * after
    scenario.check_ledger(f"sent since the last save and not asked for {since:,}", forgiven=since)
    assert scenario.figures("asks").lost == 0


def test_the_gateways_disk_is_full(scenario: Scenario) -> None:
    """Hellos cannot be kept, heartbeats go on; a restart asks the broker for the hellos."""
    with small_disk(scenario.folder / "state", 1024):
        gateway = scenario.gateway()
        fill(scenario.folder / "state")
        scenario.join(scaled(20, 200))
        gateway.wait_for_log(
            "hellos cannot be saved: after a restart older tags are unknown, until the disk works again"
        )
        scenario.load(scaled(200, 1000))
        scenario.until_accepted(40)
        gateway.kill()
        gateway.start()
        scenario.join(5, prefix="late")
        make_room(scenario.folder / "state")
        scenario.until_accepted(40)
        gateway.kill()
        gateway.start()
        scenario.stop_load()
        scenario.until_through()
        gateway.kill()
    scenario.check_ledger()
