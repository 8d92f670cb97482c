"""Files of state_dir that are damaged or foreign: set aside, at the start and later, and begun empty."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import Code, ConfigError, StateError
from gateway.protocol.messages import Device, Hello, HelloRecord, Layout, Metric
from gateway.storage.damaged_files import KEPT
from gateway.storage.damaged_files import set_aside as rename
from gateway.storage.state_store import StateStore
from tests.support.engine import DEVICE, HELLO

FILTERS = ["edge/+/+/hb"]
DEVICES = 300


def layout(number: int) -> Layout:
    return Layout("1.0", tuple(Metric("sys", f"metric-{number}-{each}") for each in range(40)), ())


def hellos(devices: int = DEVICES, layouts: int = 30) -> dict[Device, tuple[HelloRecord, ...]]:
    made = [layout(number) for number in range(layouts)]
    return {
        Device("f", f"d-{each}"): (HelloRecord(Hello(each, made[each % layouts]), 1_795_000_000, 1_794_000_000.25),)
        for each in range(devices)
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    store = StateStore(folder)
    store.save_filters(FILTERS)
    store.save_hellos(hellos())
    store.close()
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "state"))


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def foreign(path: Path, *statements: str) -> None:
    path.unlink()
    changed(path, *statements)


def bits_flipped(path: Path) -> None:
    content, chance = bytearray(path.read_bytes()), random.Random(3)
    for _ in range(200):
        content[chance.randrange(100, len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def page_zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


def directory(path: Path) -> None:
    path.unlink()
    (path / "some").mkdir(parents=True)


def wal_of_another(path: Path) -> None:
    other = path.with_name("other")
    with closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE other (n)")
        db.executemany("INSERT INTO other VALUES (?)", [(f"{number}" * 300,) for number in range(100)])
        shutil.copy(f"{other}-wal", f"{path}-wal")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "random bytes": lambda path: path.write_bytes(random.Random(1).randbytes(50_000)),
    "text": lambda path: path.write_text("It is something else. " * 1000),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bits flipped": bits_flipped,
    "page zeroed": page_zeroed,
    "tables of another program": lambda path: foreign(path, "CREATE TABLE users (name)"),
    "other columns": lambda path: foreign(path, "CREATE TABLE hellos (name)"),
    "a newer version": lambda path: changed(path, "PRAGMA user_version = 7"),
    "a column more": lambda path: changed(path, "ALTER TABLE hellos ADD COLUMN more"),
    "the write-ahead log of another": wal_of_another,
    "a directory": directory,
    "a directory for the write-ahead log": lambda path: Path(f"{path}-wal").mkdir(),
    "a layout that is no JSON": lambda path: changed(path, "UPDATE layouts SET layout = '[1' WHERE id = 3"),
    "a layout of another form": lambda path: changed(path, "UPDATE layouts SET layout = '[1]' WHERE id = 3"),
    "text that is not UTF-8": lambda path: changed(
        path, "UPDATE hellos SET device = CAST(x'ff' AS TEXT) WHERE tag = 3"
    ),
    "a name that cannot be": lambda path: changed(path, "UPDATE hellos SET device = 'a b' WHERE tag = 3"),
    "a number that is text": lambda path: changed(path, "UPDATE hellos SET implied = 'soon' WHERE tag = 3"),
    "another epoch": lambda path: changed(path, "UPDATE hellos SET epoch = 1795000001 WHERE tag = 3"),
    "another inferred epoch": lambda path: changed(path, "UPDATE hellos SET implied = 1795000001 WHERE device = 'd-3'"),
    "another clock": lambda path: changed(path, "UPDATE clocks SET clock = clock + 1 WHERE device = 'd-3'"),
    "another boot": lambda path: changed(path, "UPDATE clocks SET boot = 'another' WHERE device = 'd-3'"),
    "a clock that is text": lambda path: changed(
        path, "DELETE FROM checksums", "UPDATE clocks SET clock = 'soon' WHERE device = 'd-3'"
    ),
    "an infinite clock": lambda path: changed(
        path, "DELETE FROM checksums", "UPDATE clocks SET clock = 9e999 WHERE device = 'd-3'"
    ),
    "another layout": lambda path: changed(path, "UPDATE layouts SET layout = replace(layout, '-3-', '-77-')"),
}


def set_aside(folder: Path, name: str = "hellos.sqlite") -> list[Path]:
    return [each for each in sorted(folder.glob(f"{name}.damaged-*")) if not each.name.endswith("-wal")]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_cannot_be_used_is_set_aside_at_the_start(damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder / "hellos.sqlite")
    store = StateStore(folder)
    assert store.filters() in ([], FILTERS)
    assert len(dict(store.hellos())) < DEVICES
    assert store.database.begun_empty
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    assert len(set_aside(folder)) == 1
    store = StateStore(folder)
    assert dict(store.hellos()) == {DEVICE: [HelloRecord(HELLO)]}
    store.close()
    assert len(set_aside(folder)) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: Path(f"{path}-wal").write_bytes(b"x"),
    ],
    ids=["empty", "absent", "a write-ahead log that is none"],
)
def test_what_sqlite_copes_with_is_not_set_aside(harmless: Callable[[Path], object], folder: Path) -> None:
    harmless(folder / "hellos.sqlite")
    store = StateStore(folder)
    list(store.hellos())
    store.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    store.close()
    assert set_aside(folder) == []


@pytest.fixture
def large(tmp_path: Path) -> Iterator[StateStore]:
    """More than SQLite keeps in memory."""
    store = StateStore(tmp_path)
    store.save_filters(FILTERS)
    store.save_hellos(hellos(3000, 3000))
    yield store
    store.close()


def test_damage_while_the_gateway_runs_is_found_by_the_next_save(large: StateStore, tmp_path: Path) -> None:
    with (tmp_path / "hellos.sqlite").open("r+b") as file:
        file.write(random.Random(1).randbytes(8_000_000))
    with pytest.raises(StateError):
        large.save_hellos(hellos(3000, 2999))
    assert large.database.begun_empty
    assert len(set_aside(tmp_path)) == 1
    large.save_hellos({DEVICE: (HelloRecord(HELLO),)})
    assert dict(large.hellos()) == {DEVICE: [HelloRecord(HELLO)]}


def test_the_filters_are_kept_where_they_can_be_read(folder: Path) -> None:
    changed(folder / "hellos.sqlite", "UPDATE hellos SET device = 'a b' WHERE tag = 3")
    store = StateStore(folder)
    list(store.hellos())
    assert store.filters() == FILTERS
    store.close()


def test_filters_that_are_not_what_was_saved_are_not_used(folder: Path) -> None:
    """A broker ends the connection for a filter such as this, and would at every start."""
    changed(folder / "hellos.sqlite", "UPDATE filters SET filter = 'edge/+/+#hb'")
    store = StateStore(folder)
    assert store.filters() == []
    assert store.filters() == []
    store.close()
    assert len(set_aside(folder)) == 1


def test_one_bit_that_the_disk_has_flipped_changes_no_hello(folder: Path) -> None:
    """Wherever it is: a name of a metric or an epoch that is wrong would be reported to the service."""
    file, chance = folder / "hellos.sqlite", random.Random(7)
    whole, known = file.read_bytes(), hellos()
    for _ in range(40):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        store = StateStore(folder)
        assert store.filters() in ([], FILTERS)
        assert all(tuple(records) == known[device] for device, records in store.hellos())
        store.close()


def test_only_the_last_few_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "some").write_text(f"{number}")
        (tmp_path / "some-wal").mkdir()
        rename(tmp_path / "some", "it is damaged", ("-wal",))
    assert [each.read_text() for each in set_aside(tmp_path, "some")] == ["3", "4"]
    assert len(list(tmp_path.iterdir())) == 2 * KEPT


def test_a_file_that_another_has_open_is_not_set_aside(folder: Path) -> None:
    store = StateStore(folder)
    with pytest.raises(ConfigError, match="runs with it"):
        StateStore(folder)
    assert set_aside(folder) == []
    store.close()


def test_a_directory_in_the_place_of_the_lock_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    StateStore(tmp_path).close()
    assert len(set_aside(tmp_path, "lock")) == 1
    assert (tmp_path / "lock").is_file()


@pytest.mark.parametrize("name", ["dead.jsonl", "dead.older.jsonl"])
def test_a_directory_in_the_place_of_dead_letters_is_set_aside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.storage.dead_letters.DEAD_LETTER_BYTES", 1000)
    (tmp_path / name).mkdir()
    store = StateStore(tmp_path)
    for number in range(20):
        store.save_dead_letter("edge/f/d/hb", b"x" * 100, Code.MALFORMED, f"{number}", 1.0)
    store.close()
    assert len(set_aside(tmp_path, name)) == 1
    letters = [tmp_path / each for each in ("dead.older.jsonl", "dead.jsonl")]
    lines = [json.loads(line) for path in letters if path.exists() for line in path.read_text().splitlines()]
    assert lines[-1]["reason"] == "19"


def test_a_line_that_a_power_cut_has_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    file = tmp_path / "dead.jsonl"
    file.write_bytes(b'{"at": 1.5, "topic": "edge/f/d/hb", "payl')
    store = StateStore(tmp_path)
    store.save_dead_letter("edge/f/d/hb", b"x", Code.MALFORMED, "why", 1.0)
    store.close()
    assert [json.loads(line)["reason"] for line in file.read_text().splitlines()[1:]] == ["why"]
