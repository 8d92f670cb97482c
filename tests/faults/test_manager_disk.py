"""A manager on SQLite: another process locks its file or reads it for long, the disk is full, the file is deleted."""

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.manager.store import FILE
from gateway.manager.store.engine import WAL_BYTES
from tests.faults import cluster
from tests.faults.cluster import FLEET, IN_TIME_S, Cluster, asked, until_more, until_page, until_status
from tests.faults.scenario import WAIT_S, scaled
from tests.support.arrivals import DEADLINE_S
from tests.support.callers import Callers
from tests.support.disks import fill, make_room, small_disk
from tests.support.polling import until

DEVICES = [f"d{number}" for number in range(scaled(20, 200))]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cluster]:
    """One manager with registered devices, and its data on a small disk where root runs the tests."""
    with cluster.running(tmp_path / "manager", None, 1) as made:
        made.run("register", FLEET, *DEVICES)
        yield made


@pytest.fixture
def callers(alone: Cluster) -> Iterator[Callers]:
    with Callers(alone.urls, FLEET, DEVICES) as calling:
        calling.start()
        until_more(calling, 2 * len(DEVICES))
        yield calling


def reads(made: Cluster) -> None:
    """What needs no change is answered at once, by the loop and by the database."""
    [manager] = made.managers
    assert asked(manager, "/healthz") == 200
    client = manager.client("sagemaker-edge")
    who = {"DeviceFleetName": FLEET, "DeviceName": "d0"}
    assert client.get_device_registration(**who)["DeviceRegistration"] == "REGISTERED"
    assert client.get_deployments(**who)["Deployments"] == []


def finish(made: Cluster, callers: Callers) -> None:
    callers.stop()
    made.check_running()
    made.check(callers)
    assert callers.without_retry_after == 0
    assert callers.slowest.get(503, 0.0) < IN_TIME_S, callers.slowest


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_another_process_locks_the_managers_database(alone: Cluster, callers: Callers, how: str) -> None:
    """For longer than anybody waits for it."""
    with closing(sqlite3.connect(alone.data / FILE, timeout=DEADLINE_S, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")  # the manager writes all the time
        reads(alone)
        until_status(callers, 503, len(DEVICES))
        reads(alone)
        until_page(alone.managers[0], "/readyz", 503)
    until_more(callers, 2 * len(DEVICES))
    finish(alone, callers)


def test_the_managers_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "manager", 4096), cluster.running(tmp_path / "manager" / "of", None, 1) as made:
        made.run("register", FLEET, *DEVICES)
        with Callers(made.urls, FLEET, DEVICES) as callers:
            callers.start()
            until_more(callers, 2 * len(DEVICES))
            fill(tmp_path / "manager")
            until_status(callers, 503, len(DEVICES))
            reads(made)
            until_page(made.managers[0], "/readyz", 503)
            make_room(tmp_path / "manager")
            until_more(callers, 2 * len(DEVICES))
            finish(made, callers)


@pytest.mark.parametrize("then", ["nothing", "an older copy"])
def test_the_managers_database_is_deleted(alone: Cluster, callers: Callers, then: str) -> None:
    """Nothing is acknowledged that would be lost; once it is back, it has all that was."""
    file, aside = alone.data / FILE, alone.data / "aside"
    if then != "nothing":
        shutil.copy(file, aside / "copy" if aside.is_dir() else alone.data / "copy")
    aside.mkdir()
    file.rename(aside / FILE)
    if then != "nothing":
        (alone.data / "copy").rename(file)
    until_status(callers, 503, len(DEVICES))
    assert asked(alone.managers[0], "/healthz") == 503
    until(lambda: "was deleted or replaced" in alone.log, lambda: alone.log)
    (aside / FILE).replace(file)
    until_more(callers, 2 * len(DEVICES))
    finish(alone, callers)
    assert alone.managers[0].end(signal.SIGTERM) == 0


def test_a_process_that_reads_for_long(alone: Cluster, callers: Callers) -> None:
    """What is written meanwhile makes the write-ahead log grow; afterwards the disk has it back."""
    log = alone.data / f"{FILE}-wal"
    with closing(sqlite3.connect(alone.data / FILE, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM devices").fetchone()
        callers.pause = 0.0
        least = scaled(1.25, 20) * WAL_BYTES
        until(lambda: log.stat().st_size > least, lambda: f"{log.stat().st_size} bytes", WAIT_S)
    until(lambda: log.stat().st_size <= WAL_BYTES, lambda: f"{log.stat().st_size} bytes", WAIT_S)
    finish(alone, callers)
