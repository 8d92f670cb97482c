"""The disk is full: under the broker, under the gateway."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.brokers.address import both_listeners_answer
from gateway.demo.brokers.mosquitto import Mosquitto
from tests import brokers
from tests.faults.disks import fill, make_room, small_disk
from tests.faults.scene import Scene, Tell, scaled

FULL = "No space left on device"


@pytest.fixture
def cramped(tmp_path: Path, tell: Tell) -> Iterator[tuple[Scene, Mosquitto, Path]]:
    """A Mosquitto whose data has a disk of its own, and the folder of that."""
    data = tmp_path / "mosquitto" / "data"
    with (
        small_disk(data, scaled(2048, 65536)),
        brokers.own_mosquitto(tmp_path / "mosquitto") as broker,
        Scene(broker, "faults", tmp_path, tell) as scene,
    ):
        yield scene, broker, data


def fill_disk_and_save(scene: Scene, broker: Mosquitto, data: Path) -> None:
    """The save breaks off in the middle, and the older one stays."""
    fill(data, leaving=16)
    told = broker.log.count(FULL)
    os.kill(broker.pid, signal.SIGUSR1)
    scene.until(lambda: broker.log.count(FULL) > told, "the broker did not miss the room")


def test_the_brokers_disk_is_full(cramped: tuple[Scene, Mosquitto, Path]) -> None:
    """It goes on from memory; once there is room again, a stop saves all.

    2.1.2 frees something twice after a save that failed, and dies: as if it were killed.
    """
    scene, broker, data = cramped
    gateway = scene.gateway()
    devices, waiting = scaled(20, 200), scaled(50, 200)
    scene.join(devices, asks=False)
    scene.beat()
    scene.until_through()
    gateway.kill()
    scene.beat(waiting)
    scene.until_confirmed()
    fill_disk_and_save(scene, broker, data)
    lives = both_listeners_answer(broker.address)
    if lives:
        scene.beat()
        scene.until_confirmed()
    make_room(data)
    broker.stop()
    broker.start()
    gateway.start()
    scene.beat()
    if lives:
        scene.until_through()
        scene.close_books()
    else:
        since = devices * waiting
        scene.until_decided()
        scene.close_books(f"the broker died; sent since the last save and not asked for {since:,}", forgiven=since)


def test_the_broker_is_stopped_while_its_disk_is_full(cramped: tuple[Scene, Mosquitto, Path]) -> None:
    """It comes back with its last save: what was asked for is sent again, the rest since then is lost."""
    scene, broker, data = cramped
    gateway = scene.gateway()
    for device in scene.join(scaled(10, 100), again_after=1.0, prefix="asks"):
        scene.ask(device.deployed, f"of-{device.name}")
    unasked, after = scaled(10, 100), scaled(50, 200)
    scene.join(unasked, asks=False)
    scene.beat()
    scene.until_through()
    gateway.kill()
    scene.beat(10)
    scene.until_confirmed()
    broker.save()
    scene.beat(after)
    scene.until_confirmed()
    fill_disk_and_save(scene, broker, data)
    broker.stop()
    broker.start()
    gateway.start()
    scene.beat()
    scene.until_decided()
    since = unasked * after
    scene.close_books(f"sent since the last save and not asked for {since:,}", forgiven=since)
    assert scene.figures("asks").lost == 0


def test_the_gateways_disk_is_full(scene: Scene) -> None:
    """Hellos cannot be kept, heartbeats go on; a restart asks the broker for the hellos."""
    with small_disk(scene.folder / "state", 1024):
        gateway = scene.gateway()
        fill(scene.folder / "state")
        scene.join(scaled(20, 200))
        gateway.said("hellos cannot be kept: a restart forgets older tags until this is mended")
        scene.load(scaled(200, 1000))
        scene.until_accepted(40)
        gateway.kill()
        gateway.start()
        scene.join(5, prefix="late")
        make_room(scene.folder / "state")
        scene.until_accepted(40)
        gateway.kill()
        gateway.start()
        scene.rest()
        scene.until_through()
        gateway.kill()
    scene.close_books()
