"""State over a restart: hellos, each layout saved once, topic filters, rejected payloads in their file."""

import base64
import errno
import json
import os
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gateway.errors import Code, ConfigError, StateError
from gateway.protocol import decoder
from gateway.protocol.messages import Device, Hello, HelloRecord, Layout, Metric
from gateway.storage.state_store import UNKNOWN_DOWNTIME, StateStore
from tests.support.engine import DEVICE, HELLO, LAYOUT, NEWER, OTHER
from tests.support.open_files import free_files

NO_TRIGGERS = [
    f"DROP TRIGGER {name}" for name in ("hellos_added", "hellos_deleted", "filters_added", "filters_deleted")
]


def make_earlier(db: sqlite3.Connection) -> None:
    """As a version made it that had no checksums."""
    for statement in (*NO_TRIGGERS, "DROP TABLE checksums", "DROP TABLE clocks", "DROP INDEX hellos_by_layout"):
        db.execute(statement)


def saved(folder: Path) -> dict[Device, list[HelloRecord]]:
    """What the next start of the gateway finds."""
    store = StateStore(folder)
    try:
        return dict(store.hellos())
    finally:
        store.close()


def rows(folder: Path, table: str) -> int:
    """How many rows a closed store's table has."""
    with closing(sqlite3.connect(folder / "hellos.sqlite")) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextmanager
def disk_full() -> Iterator[None]:
    """No file of this process can be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_folder_is_empty(tmp_path: Path) -> None:
    assert saved(tmp_path / "deep" / "state") == {}


def test_hellos_survive_reopening_newest_last(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    older = HelloRecord(Hello(9, NEWER, None, None, 1), inferred_epoch=1_795_000_000)
    store.save_hellos({DEVICE: (older, HelloRecord(HELLO))})
    store.save_hellos({OTHER: (HelloRecord(Hello(1, LAYOUT)),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [older, HelloRecord(HELLO)], OTHER: [HelloRecord(Hello(1, LAYOUT))]}


def test_saved_hellos_are_there_without_a_close(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in tmp_path.glob("hellos.sqlite*"):
        (crashed / file.name).write_bytes(file.read_bytes())
    assert saved(crashed) == {DEVICE: [HelloRecord(HELLO)]}
    store.close()


def test_the_clock_of_an_inferred_epoch_counts_within_its_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = HelloRecord(Hello(9, LAYOUT, 1_795_000_005), 1_795_000_000, 1_794_000_000.25)
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (record,)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [record]}
    monkeypatch.setattr("gateway.storage.hello_database._boot_id", lambda: "another")
    store = StateStore(tmp_path)
    ((_, [restored]),) = store.hellos()
    assert (restored.epoch, restored.clock) == (1_795_000_000, None)
    store.save_hellos({DEVICE: (restored,)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [restored]}


def test_the_file_of_an_earlier_version_is_read_and_written(tmp_path: Path) -> None:
    """It kept an epoch that was inferred beside the one that the device gave later."""
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(Hello(8, LAYOUT), 1_795_000_000), HelloRecord(HELLO))})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite")) as db, db:
        make_earlier(db)
        db.execute("UPDATE hellos SET implied = 1795000000")
    expected = [HelloRecord(Hello(8, LAYOUT), 1_795_000_000), HelloRecord(HELLO)]
    assert saved(tmp_path) == {DEVICE: expected}
    store = StateStore(tmp_path)
    store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: expected, OTHER: [HelloRecord(HELLO)]}


EARLIER_FILE = (*NO_TRIGGERS, "UPDATE checksums SET checksum = checksum - 1")
"""It may have checksums of which it knew nothing when it changed hellos and filters."""


@pytest.mark.parametrize("before", [(), EARLIER_FILE], ids=["this version's file", "an earlier version's file"])
def test_an_earlier_version_that_is_installed_again_and_replaced_changes_the_file(
    before: tuple[str, ...], tmp_path: Path
) -> None:
    """It writes hellos and filters, and knows nothing of checksums and clocks."""
    kept = HelloRecord(Hello(7, LAYOUT), 1_795_000_000, 1_794_000_000.25)
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (kept, HelloRecord(HELLO)), OTHER: (kept,)})
    store.save_filters(["edge/a/+/hb"])
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as db:
        for statement in before:
            db.execute(statement)
        key = (DEVICE.fleet, DEVICE.name)
        rows = db.execute("SELECT * FROM hellos WHERE fleet = ? AND device = ? AND position = 0", key).fetchall()
        db.execute("DELETE FROM hellos WHERE fleet = ? AND device = ?", key)
        db.executemany("INSERT INTO hellos VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1795000100)", [row[:-1] for row in rows])
        db.execute("DELETE FROM filters")
        db.execute("INSERT INTO filters VALUES ('edge/b/+/hb')")
    store = StateStore(tmp_path)
    found = dict(store.hellos())
    assert [(record.epoch, record.clock is None) for record in found[DEVICE]] == [(1_795_000_100, not before)]
    assert found[OTHER] == [kept]
    assert store.filters() == ["edge/b/+/hb"]
    assert not store.database.begun_empty
    store.save_hellos({DEVICE: (kept,)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [kept], OTHER: [kept]}
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_filters_survive_reopening(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.filters() == []
    store.save_filters(["edge/b/+/hb", "edge/a/+/hb", "edge/a/+/hb"])
    store.close()
    store = StateStore(tmp_path)
    assert store.filters() == ["edge/a/+/hb", "edge/b/+/hb"]
    store.save_filters(["edge/a/+/hb"])
    assert store.filters() == ["edge/a/+/hb"]
    store.close()


def test_the_hellos_of_a_device_are_replaced(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(Hello(1, LAYOUT)), HelloRecord(HELLO))})
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)]}


def test_a_layout_is_saved_once_over_reopening_too(tmp_path: Path) -> None:
    for number in range(3):
        store = StateStore(tmp_path)
        list(store.hellos())
        store.save_hellos({Device("fleet-a", f"dev-{number}"): (HelloRecord(Hello(number, LAYOUT)),)})
        store.close()
    store = StateStore(tmp_path)
    records = [record for _, kept in store.hellos() for record in kept]
    store.close()
    assert rows(tmp_path, "layouts") == 1
    assert len({id(record.hello.layout) for record in records}) == 1
    assert [record.hello.tag for record in records] == [0, 1, 2]


def test_the_largest_hello_that_can_be_decoded_can_be_saved(tmp_path: Path) -> None:
    most = 2**64 - 1
    hello = decoder.decode_hello(msgpack.packb([65535, ["1.0"], 4_102_444_800, most, most]))
    assert hello is not None
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(hello),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(hello)]}


def test_a_rejected_payload_is_saved_byte_for_byte_one_line_each(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    payloads = [bytes(range(256)), b"", b"\n"]
    for payload in payloads:
        file = store.save_dead_letter("edge/fleet-a/größe/hb", payload, Code.MALFORMED, "not\nan array", 1.5)
    lines = [json.loads(line) for line in file.read_text("ascii").splitlines()]
    assert [base64.b64decode(line["payload"]) for line in lines] == payloads
    assert {key: lines[0][key] for key in ("at", "topic", "code", "reason")} == {
        "at": 1.5,
        "topic": "edge/fleet-a/größe/hb",
        "code": 1,
        "reason": "not\nan array",
    }
    store.close()


def test_two_gateways_may_not_share_a_folder(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    with pytest.raises(ConfigError) as caught:
        StateStore(tmp_path)
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    todo = "stop it, or give this one a state_dir and a client_id of its own"
    assert caught.value.mistakes == [f"state_dir {tmp_path}: a gateway runs with it ({holder}); {todo}"]
    store.close()
    StateStore(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "hellos.sqlite").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", refuse)  # the tests may run as root, who may do all
        with pytest.raises(ConfigError, match="state_dir"):
            StateStore(tmp_path)
    StateStore(tmp_path).close()


HOLDERS = {"a writer": ["BEGIN EXCLUSIVE"], "a backup": ["BEGIN", "SELECT * FROM hellos"]}


@pytest.mark.parametrize("statements", HOLDERS.values(), ids=HOLDERS)
def test_a_process_that_has_the_file_open_stops_no_start(
    statements: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.storage.hello_database.OPEN_WAIT", 0.1)
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as another:
        for statement in statements:
            another.execute(statement).fetchall()
        store = StateStore(tmp_path)
        assert (dict(store.hellos()), store.filters()) == ({}, [])
        began = time.monotonic()
        with pytest.raises(StateError, match="locked"):
            store.save_hellos({OTHER: (HelloRecord(HELLO),)})
        assert time.monotonic() - began < 5, "the loop would stand still, for as long as sqlite3 waits by default"
    store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)], OTHER: [HelloRecord(HELLO)]}
    assert list(tmp_path.glob("*.damaged-*")) == []


@pytest.mark.parametrize("free", [1, 2, 3])
def test_too_many_open_files_are_no_damage(free: int, tmp_path: Path) -> None:
    """One is for the lock; SQLite needs two or three."""
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    with free_files(free):
        store = StateStore(tmp_path)
        found = dict(store.hellos())
    assert found in ({}, {DEVICE: [HelloRecord(HELLO)]})
    store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)], OTHER: [HelloRecord(HELLO)]}
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_a_file_instead_of_the_folder_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(ConfigError, match="state_dir"):
        StateStore(tmp_path / "state")


def test_a_failing_disk_is_a_state_error(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    with disk_full(), pytest.raises(StateError, match=r"dead\.jsonl"):
        store.save_dead_letter("edge/f/d/hb", b"x", Code.MALFORMED, "why", 1.0)
    store.close()
    with pytest.raises(StateError, match=r"hellos\.sqlite"):
        store.save_hellos({Device("f", "d"): ()})


def test_a_layout_that_could_not_be_saved_is_saved_with_its_next_hello(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    with disk_full(), pytest.raises(StateError):
        store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {OTHER: [HelloRecord(HELLO)]}


@pytest.mark.parametrize("tag", ["text", []], ids=["no number", "no value of SQLite"])
def test_a_hello_that_python_cannot_save_is_a_state_error(tag: Any, tmp_path: Path) -> None:
    """Nothing of its transaction is taken for saved."""
    store = StateStore(tmp_path)
    with pytest.raises(StateError):
        store.save_hellos({DEVICE: (HelloRecord(HELLO),), OTHER: (HelloRecord(Hello(tag, NEWER)),)})
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)]}


def test_a_hello_whose_layout_is_missing_is_left_out(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),), OTHER: (HelloRecord(Hello(9, NEWER)),)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as db:
        db.execute("DELETE FROM layouts WHERE id = 1")
    assert saved(tmp_path) == {OTHER: [HelloRecord(Hello(9, NEWER))]}


def test_with_a_full_disk_a_start_still_finds_its_hellos(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.save_hellos({DEVICE: (HelloRecord(Hello(9, NEWER)),)})
    with disk_full():
        assert dict(store.hellos()) == {DEVICE: [HelloRecord(Hello(9, NEWER))]}
    store.close()


def test_downtime_counts_from_the_last_touch(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.downtime() == UNKNOWN_DOWNTIME
    store.touch_liveness()
    assert 0 <= store.downtime() < 3600
    os.utime(tmp_path / "alive", (time.time() - 7200,) * 2)
    assert 7200 <= store.downtime() < 10_800
    os.utime(tmp_path / "alive", (time.time() + 7200,) * 2)
    assert store.downtime() == UNKNOWN_DOWNTIME, "the clock was set back"
    store.close()


def test_layouts_that_no_hello_uses_any_more_are_deleted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    layouts = [Layout("1.0", (Metric("sys", f"metric-{number}"),), ()) for number in range(50)]
    for number, layout in enumerate(layouts):
        store.save_hellos({DEVICE: (HelloRecord(Hello(number, layout)),), OTHER: (HelloRecord(Hello(1, layouts[7])),)})
    store.save_hellos({DEVICE: (HelloRecord(Hello(1, layouts[3])),)})
    store.close()
    assert rows(tmp_path, "layouts") == 2
    assert saved(tmp_path) == {
        DEVICE: [HelloRecord(Hello(1, layouts[3]))],
        OTHER: [HelloRecord(Hello(1, layouts[7]))],
    }


def calls(work: Callable[[], object]) -> int:
    """How many calls of functions it makes."""
    count = 0

    def on_event(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_save_costs_as_much_with_many_known_layouts(tmp_path: Path) -> None:
    """Whether it deletes one or not."""
    found = []
    for known in (5, 500):
        store = StateStore(tmp_path / f"{known}")
        layouts = [Layout(f"1.{number}", (), ()) for number in range(known)]
        store.save_hellos({Device("f", f"d-{n}"): (HelloRecord(Hello(1, each)),) for n, each in enumerate(layouts)})
        tags = [{Device("f", "d-0"): (HelloRecord(Hello(tag, layouts[tag % 2])),)} for tag in (2, 1)]
        found.append([calls(partial(store.save_hellos, each)) for each in tags])
        store.close()
    assert max(found[1]) < 100, found
    assert found[0] == found[1]


def large_layout(number: int) -> Layout:
    return Layout("1.0", tuple(Metric("d" * 900, f"metric-{number}-{each}") for each in range(200)), ())


def test_the_layouts_of_one_device_are_bounded_and_older_tags_go_first(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    records = tuple(HelloRecord(Hello(number, large_layout(number))) for number in range(4))
    store.save_hellos({DEVICE: records})
    store.close()
    assert saved(tmp_path) == {DEVICE: list(records[2:])}
    assert rows(tmp_path, "layouts") == 2


def test_the_file_is_bounded_and_what_fits_is_saved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.storage.hello_database.FILE_PAGES", 256)
    store = StateStore(tmp_path)
    hellos = {Device("f", f"d-{number}"): (HelloRecord(Hello(1, large_layout(number))),) for number in range(10)}
    store.save_hellos(dict([*hellos.items()][:1]))
    with pytest.raises(StateError, match="full"):
        store.save_hellos(hellos)
    assert (tmp_path / "hellos.sqlite").stat().st_size <= 256 * 4096
    store.save_hellos(dict([*hellos.items()][1:2]))
    store.close()
    assert saved(tmp_path) == {device: [*records] for device, records in [*hellos.items()][:2]}


def test_a_file_of_a_version_that_kept_unused_layouts_is_begun_anew(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_filters(["edge/+/+/hb"])
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as db:
        make_earlier(db)
        db.executemany("INSERT INTO layouts (layout) VALUES (?)", [(f"{number}" * 10_000,) for number in range(100)])
    size = (tmp_path / "hellos.sqlite").stat().st_size
    store = StateStore(tmp_path)
    records = dict(store.hellos())
    assert records == {DEVICE: [HelloRecord(HELLO)]}
    assert store.database.begun_empty
    store.save_hellos({DEVICE: tuple(records[DEVICE])})
    assert store.filters() == ["edge/+/+/hb"]
    store.close()
    assert (tmp_path / "hellos.sqlite").stat().st_size < size / 10
    assert saved(tmp_path) == records
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as db:
        make_earlier(db)
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)]}


def test_with_a_full_disk_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save_filters(["edge/+/+/hb"])
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "hellos.sqlite", isolation_level=None)) as db:
        make_earlier(db)
    with disk_full():
        store = StateStore(tmp_path)
        assert dict(store.hellos()) == {DEVICE: [HelloRecord(HELLO)]}
        assert store.filters() == ["edge/+/+/hb"]
        with pytest.raises(StateError):
            store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.save_hellos({OTHER: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)], OTHER: [HelloRecord(HELLO)]}


def test_a_start_with_a_full_disk_is_no_mistake_of_the_settings(tmp_path: Path) -> None:
    with disk_full():
        store = StateStore(tmp_path)
        assert dict(store.hellos()) == {}
        assert store.filters() == []
        with pytest.raises(StateError):
            store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    assert saved(tmp_path) == {DEVICE: [HelloRecord(HELLO)]}
