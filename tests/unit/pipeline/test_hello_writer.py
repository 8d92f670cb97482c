"""Hellos are saved in turns; a disk that fails delays nothing, and once it works all is saved."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core import SaveHellos
from gateway.pipeline.hellos import HelloWriter
from gateway.pipeline.publisher import PublishBarrier
from gateway.protocol.messages import Device, Hello, HelloRecord, Layout, Metric
from gateway.storage import StateStore
from tests.support.arrivals import DEADLINE_S

DEVICES = [Device("f", f"d-{number}") for number in range(25)]


def hellos(number: int) -> tuple[HelloRecord, ...]:
    """With a layout of 60 KB."""
    return (HelloRecord(Hello(1, Layout("1", tuple(Metric("d" * 900, f"m-{number}-{n}") for n in range(60)), ()))),)


async def saved_by(writer: HelloWriter, *numbers: int) -> None:
    """Return once what follows may be done."""
    done = asyncio.Event()
    barrier = PublishBarrier()
    for number in numbers:
        writer.save(SaveHellos(DEVICES[number], hellos(number)), barrier)
    barrier.when_done(done.set)
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()


async def turns() -> None:
    """Of the loop: enough for what is due now."""
    for _ in range(10):
        await asyncio.sleep(0)


def devices(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "hellos.sqlite")) as db:
        return int(db.execute("SELECT count(DISTINCT device) FROM hellos").fetchone()[0])


async def test_a_large_fleet_is_saved_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.pipeline.hellos.SAVED_AT_ONCE", 10)
    store = StateStore(tmp_path)
    await saved_by(HelloWriter(store, dict), *range(25))
    store.close()
    assert devices(tmp_path) == 25


async def test_what_is_learnt_between_two_turns_waits_for_the_disk_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.hellos.SAVED_AT_ONCE", 1)
    store = StateStore(tmp_path)
    writer = HelloWriter(store, dict)
    first = asyncio.create_task(saved_by(writer, 0, 1, 2))
    for _ in range(2):  # turns of the loop: it starts, and the first is written
        await asyncio.sleep(0)
    assert len(dict(store.hellos())) == 1
    await saved_by(writer, 3)
    assert DEVICES[3] in dict(store.hellos())
    await first
    store.close()


async def test_a_hello_that_cannot_be_saved_holds_no_other_back(tmp_path: Path) -> None:
    """Its epoch does not fit into the file."""
    store = StateStore(tmp_path)
    writer, done = HelloWriter(store, dict), asyncio.Event()
    barrier = PublishBarrier()
    (record,) = hellos(0)
    writer.save(SaveHellos(DEVICES[0], (record, HelloRecord(Hello(2, record.hello.layout), 2**63))), barrier)
    barrier.when_done(done.set)
    await saved_by(writer, 1)
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()
    assert dict(store.hellos()) == {DEVICES[0]: [record], DEVICES[1]: list(hellos(1))}
    store.close()


async def test_what_could_not_be_saved_is_saved_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.hellos.RETRY_AFTER", 0.0)
    monkeypatch.setattr("gateway.storage.hello_database.FILE_PAGES", 200)
    store = StateStore(tmp_path)
    writer = HelloWriter(store, dict)
    await saved_by(writer, *range(10))
    assert not writer.pending
    connection = store.database._db
    assert connection is not None
    connection.execute("PRAGMA max_page_count = 100000")
    await saved_by(writer, 10)
    await turns()
    store.close()
    assert devices(tmp_path) == 11


async def test_where_the_file_was_begun_empty_all_is_saved(tmp_path: Path) -> None:
    (tmp_path / "hellos.sqlite").write_text("no database" * 100)
    store = StateStore(tmp_path)
    known = {device: hellos(number) for number, device in enumerate(DEVICES[:5])}
    writer = HelloWriter(store, lambda: known)
    writer.start()
    await turns()
    store.close()
    assert devices(tmp_path) == 5
