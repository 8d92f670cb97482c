"""What is in state_dir is damaged, at a start and under a gateway that runs; and what one device makes it grow to."""

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgpack

from gateway.protocol.messages import Device, Hello, HelloRecord, Layout, Metric
from gateway.storage import StateStore
from tests.faults.scenario import Scenario, scaled
from tests.support.edge_manager import UNAVAILABLE, always
from tests.support.payloads import EPOCH, TAG
from tests.support.plain_device import Login, PlainDevice
from tests.support.process_memory import resident

SET_ASIDE = "a file of state_dir cannot be used: it is set aside, and the gateway begins an empty one"


def plain_device(scenario: Scenario, name: str) -> PlainDevice:
    """It connects when its context is entered."""
    at, user = scenario.broker.address, f"{scenario.name}/{name}"
    credentials = scenario.broker.add_user(user)
    return PlainDevice(Login(at.host, at.device_port, credentials.user, credentials.password), user)


def random_bytes(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE hellos (greeting)")


def test_the_file_of_hellos_is_damaged(scenario: Scenario) -> None:
    """It is set aside, and the hellos are asked of the broker."""
    gateway = scenario.gateway()
    scenario.join(scaled(20, 200))
    for damage in (random_bytes, truncated, directory, of_another_program):
        scenario.beat(scaled(5, 50))
        scenario.until_through()
        assert gateway.terminate() == 0
        damage(scenario.folder / "state" / "hellos.sqlite")
        scenario.beat(scaled(5, 50))
        gateway.start()
        gateway.wait_for_log(SET_ASIDE)
    scenario.beat()
    scenario.until_through()
    gateway.kill()
    assert scenario.check_ledger().errors == 0
    assert len(list((scenario.folder / "state").glob("hellos.sqlite.damaged-*"))) == 2


def test_the_file_of_hellos_is_damaged_under_the_gateway(scenario: Scenario) -> None:
    """What the gateway knows is saved again, in the new file."""
    state, many = scenario.folder / "state", 3000  # more than SQLite keeps in memory
    layouts = [Layout("1", tuple(Metric("sys", f"metric-{each}-{n}") for n in range(30)), ()) for each in range(many)]
    store = StateStore(state)
    store.save_hellos(
        {Device(scenario.name, f"old-{n}"): (HelloRecord(Hello(1, each)),) for n, each in enumerate(layouts)}
    )
    store.close()
    gateway = scenario.gateway()
    with (state / "hellos.sqlite").open("r+b") as file:
        file.write(random.Random(1).randbytes((state / "hellos.sqlite").stat().st_size))
    devices = scaled(20, 200)
    scenario.join(devices)
    scenario.beat()
    scenario.until_through()
    gateway.wait_for_log(SET_ASIDE)

    def saved() -> int:
        try:
            with closing(sqlite3.connect(f"file:{copied(state)}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT count(DISTINCT device) FROM hellos").fetchone()[0])
        except sqlite3.Error:
            return 0

    scenario.until(lambda: saved() == many + devices, "not all hellos were saved again")
    gateway.kill()
    assert scenario.check_ledger().errors == 0


def test_another_process_reads_the_file_of_hellos_at_a_start(scenario: Scenario) -> None:
    """Such as a backup, until the gateway has asked the broker for all hellos."""
    gateway = scenario.gateway()
    scenario.join(scaled(20, 200))
    scenario.beat(scaled(5, 50))
    scenario.until_through()
    assert gateway.terminate() == 0
    file = scenario.folder / "state" / "hellos.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as backup:
        backup.execute("BEGIN")
        assert backup.execute("SELECT * FROM hellos").fetchall()
        scenario.beat(scaled(5, 50))
        gateway.start()
        scenario.until_through()
        gateway.wait_for_log("cannot save subscriptions: a fleet that you remove stays subscribed")
    scenario.beat()
    scenario.until_through()
    gateway.kill()
    assert scenario.check_ledger().errors == 0
    assert list(file.parent.glob("*.damaged-*")) == []


def copied(state: Path) -> Path:
    """The gateway has the file to itself, so it is read as a copy."""
    copy = state.with_name("copy") / "hellos.sqlite"
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(state / f"hellos.sqlite{suffix}", f"{copy}{suffix}")
    return copy


def test_a_device_changes_its_layout_all_the_time(scenario: Scenario) -> None:
    """What no hello uses any more is deleted: the file does not grow."""
    gateway = scenario.gateway()
    names = [f"{number:04x}" for number in range(8000)]
    with plain_device(scenario, "busy") as device:
        for number in range(scaled(20, 500)):
            device.hello(number, [f"{number}", [["d", name] for name in names], []], EPOCH)
            device.numbered(number + 1, tag=number)
            assert device.ack(number + 1) == (0, "")
    assert gateway.terminate() == 0
    assert sum(file.stat().st_size for file in (scenario.folder / "state").glob("hellos.sqlite*")) < 4_000_000


def test_the_heaviest_payloads_wait_in_an_outage(scenario: Scenario) -> None:
    """What is not acknowledged takes about the memory of its payloads, up to `intake_bytes`."""
    limit = scaled(4, 64) * 1024 * 1024
    gateway = scenario.gateway(intake_bytes=limit, device_burst=1_000_000)
    metrics = [["d", "name"]] * 6500  # with more, its call would be too large
    payload = msgpack.packb([TAG, 2, [[0, 0] * 3] * len(metrics)])  # 7 bytes each, and 16 times as much decoded
    with plain_device(scenario, "heavy") as device:
        device.hello(TAG, ["1.0", metrics], EPOCH)
        device.numbered(1)
        assert device.ack(1) == (0, "")
        scenario.service.rule = always(UNAVAILABLE)
        before = resident(gateway.pid)
        for _ in range(limit // len(payload) + 1):
            device.send("hb", payload)
        gateway.until_metric("reading_paused", 1)
        grown = resident(gateway.pid) - before
    gateway.kill()
    assert grown < 1.5 * limit + 20_000_000, f"{grown / 1e6:.0f} MB for {limit / 1e6:.0f} MB of payloads"
