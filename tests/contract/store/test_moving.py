"""A site that is moved, backed up and restored: into each engine, under load, killed in the middle, damaged."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.lock import FolderLock
from gateway.manager.api import latest_values
from gateway.manager.errors import ManagerError
from gateway.manager.store import FILE, HeartbeatCall, ObjectStore, Place, Store, local_address, open_store
from gateway.manager.store.copying import PART, TABLES, require_empty
from gateway.manager.store.moving import migrate_site, restore_backup, write_backup
from gateway.manager.store.reported import unpack
from gateway.manager.store.tables import TASKS
from gateway.manager.store.temporary import temporary
from tests.support.disks import fill, small_disk
from tests.support.needs import root
from tests.support.postgres import Postgres, new_database
from tests.support.stores import open_place

MODEL = b"the content of a model"
OWNER = 12345
USED = 5000
KILLER = """
import os, signal, sys
import sqlalchemy as sa
from pathlib import Path
from gateway.manager.store import Place, archive, moving
@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement.startswith(f"INSERT INTO {sys.argv[1]} ") and connection.dialect.name == "postgresql":
        os.kill(os.getpid(), signal.SIGKILL)
"""
MIGRATE = KILLER + "moving.migrate_site(Path(sys.argv[2]), sys.argv[3], print, print)"
RESTORE = KILLER + "moving.restore_backup(Path(sys.argv[2]), Place(Path(sys.argv[3]), sys.argv[4]))"
BACKUP = """
import os, signal, sys
from pathlib import Path
from gateway.manager.store import Place, archive, moving
archive.tarfile.open = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
moving.write_backup(Place(Path(sys.argv[1])), Path(sys.argv[2]))
"""
KILLED_AT = ["device_metrics", "object_pieces", "objects"]


# -- a site, and what is in one --


def fill_site(place: Place, rows: int = 3) -> None:
    """Rows in every table, numbers up to `USED` that are not free, a model file that was deployed and one by hand."""
    with open_place(place) as store, store.engine.begin() as connection:
        for table in TABLES:
            connection.execute(sa.insert(table), [row_of(table, number) for number in range(1, rows + 1)])
        if place.url is None:
            connection.exec_driver_sql(f"UPDATE sqlite_sequence SET seq = {USED}")
        else:
            for table in TABLES:
                if "id" in table.columns:
                    connection.exec_driver_sql(f"SELECT setval('{table.name}_id_seq', {USED})")
        objects = ObjectStore(place.data, store)
        by_hand = objects.root / "models" / "by hand"
        by_hand.parent.mkdir(parents=True)
        by_hand.touch()
        source = place.data / "source.bin"
        source.write_bytes(MODEL)
        objects.put_file(source, "models", "wake")
        source.unlink()


def row_of(table: sa.Table, number: int) -> dict[str, Any]:
    """Its ids are those of the parents' rows too. One row in three has no optional values."""
    row = {column.name: value_of(column, number) for column in table.columns}
    left_out = {column.name for column in table.columns if column.nullable and number % 3 == 0}
    return {name: None if name in left_out else value for name, value in row.items()}


def value_of(column: sa.Column[Any], number: int) -> Any:
    if isinstance(column.type, sa.Boolean):
        return number % 2 == 0
    if isinstance(column.type, sa.Integer):
        return number + (0 if column.primary_key or column.foreign_keys else 2**31 - 5000)
    if isinstance(column.type, sa.Double):
        return number + 0.1
    if isinstance(column.type, sa.LargeBinary):
        return bytes(range(256)) + number.to_bytes(4, "big")
    parents = [each.column for each in column.foreign_keys]
    return f"{(parents or [column])[0].name} '{number}' {{}} \u00e4"


def content(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with open_place(place) as store, store.engine.begin() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in TABLES
        }


def files(place: Place) -> dict[str, bytes]:
    """All model files that a `serve` of that place serves, by bucket and key; none is there twice."""
    with open_place(place) as store:
        objects = ObjectStore(place.data, store)
        shared = objects.shared.list_files() if objects.shared is not None else []
        names = [(each.bucket, each.key) for each in shared] + [name[:2] for name in objects.list_files()]
        assert len(set(names)) == len(names)
        for each in shared:
            assert objects.fetch(each.bucket, each.key)
        return {f"{bucket}/{key}": path.read_bytes() for bucket, key, path in objects.list_files()}


def assert_two_files(found: dict[str, bytes]) -> None:
    assert sorted(found.values()) == [b"", MODEL]
    assert "models/by hand" in found


def assert_empty(place: Place) -> None:
    with open_place(place) as store, store.engine.begin() as connection:
        require_empty(connection)
        assert connection.scalar(sa.select(sa.func.count()).select_from(TASKS)) == 0


def assert_same(one: Place, other: Place) -> None:
    """The audit of the other one has one more row: where all of it is from."""
    expected, found = content(one), content(other)
    assert all(expected.values())
    *audit, (_, _, key, address, action, resource, before, _) = found["audit"]
    assert found | {"audit": audit} == expected
    assert (key, address, resource, before) == ("", local_address(), "database", None)
    assert action in ("edge-manager:Migrate", "edge-manager:Restore")


def new_device(place: Place) -> int:
    with open_place(place) as store:
        store.write(lambda transaction: transaction.register("first", ["newer"], 1.0))
        device = store.read(lambda transaction: transaction.device_id("first", "newer"))
        assert device is not None
        return device


@contextmanager
def an_empty(engine: str, data: Path, server: Postgres) -> Iterator[Place]:
    if engine == "sqlite":
        yield Place(data)
        return
    with new_database(server) as url:
        yield Place(data, url)


def nothing(table: str, rows: int) -> None:
    pass


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Of a SQLite site in `site`."""
    fill_site(Place(tmp_path / "site"))
    write_backup(Place(tmp_path / "site"), tmp_path / "site.tar")
    return tmp_path / "site.tar"


# -- migrate --


def test_a_site_moves_with_every_row(tmp_path: Path, postgres_url: str) -> None:
    source, target = Place(tmp_path), Place(tmp_path, postgres_url)
    fill_site(source)
    expected = files(source)
    assert_two_files(expected)
    rows, models = migrate_site(tmp_path, postgres_url, nothing, nothing)
    assert (rows, models) == ({table.name: 3 for table in TABLES}, 2)
    assert_same(source, target)
    assert files(Place(tmp_path / "other", postgres_url)) == expected


def test_a_site_moves_through_pgbouncer_in_transaction_mode(tmp_path: Path, pgbouncer_url: str) -> None:
    fill_site(Place(tmp_path), rows=3 * PART // 2)
    migrate_site(tmp_path, pgbouncer_url, nothing, nothing)
    assert_same(Place(tmp_path), Place(tmp_path, pgbouncer_url))


def test_numbers_go_on_in_the_new_database(tmp_path: Path, postgres_url: str) -> None:
    with open_place(Place(tmp_path)) as store:
        store.write(lambda transaction: transaction.register("first", ["a", "gone"], 1.0))
        store.write(lambda transaction: transaction.deregister("first", "gone"))
    migrate_site(tmp_path, postgres_url, nothing, nothing)
    assert new_device(Place(tmp_path, postgres_url)) == 3


def test_the_command_counts_the_rows_of_both(tmp_path: Path, postgres_url: str) -> None:
    fill_site(Place(tmp_path))
    done = manager("migrate", str(tmp_path), postgres_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "devices: 3 rows in both\n" in done.stdout
    assert "model files: 2 are in the database; " in done.stdout


@pytest.mark.parametrize("table", KILLED_AT)
def test_kill_9_in_the_middle_leaves_the_target_empty(tmp_path: Path, postgres_url: str, table: str) -> None:
    fill_site(Place(tmp_path))
    assert killed(MIGRATE, table, str(tmp_path), postgres_url)
    assert_empty(Place(tmp_path, postgres_url))
    migrate_site(tmp_path, postgres_url, nothing, nothing)
    assert_same(Place(tmp_path), Place(tmp_path, postgres_url))


def test_a_target_with_rows_is_refused(tmp_path: Path, postgres_url: str) -> None:
    fill_site(Place(tmp_path))
    with open_place(Place(tmp_path, postgres_url)) as store:
        store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    with pytest.raises(ManagerError, match=r"has rows in its table .*: give an empty database"):
        migrate_site(tmp_path, postgres_url, nothing, nothing)
    assert len(content(Place(tmp_path, postgres_url))["devices"]) == 1


def test_a_site_that_is_served_does_not_move(tmp_path: Path, postgres_url: str) -> None:
    fill_site(Place(tmp_path))
    with closing(FolderLock(tmp_path)), pytest.raises(ManagerError, match=r"serves .*: stop it first"):
        migrate_site(tmp_path, postgres_url, nothing, nothing)


def test_a_directory_without_a_site_is_refused(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(ManagerError, match="no Edge Manager data"):
        migrate_site(tmp_path, postgres_url, nothing, nothing)
    assert list(tmp_path.iterdir()) == []


# -- backup and restore --


@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
@pytest.mark.parametrize("out_of", ["sqlite", "postgresql"])
def test_what_is_restored_is_what_was_there(tmp_path: Path, postgres: Postgres, out_of: str, into: str) -> None:
    file = tmp_path / "site.tar.gz"
    with (
        an_empty(out_of, tmp_path / "one", postgres) as source,
        an_empty(into, tmp_path / "two", postgres) as target,
    ):
        fill_site(source)
        made = write_backup(source, file)
        assert (made.devices, made.models) == (3, 2)
        assert restore_backup(file, target) == made
        assert_same(source, target)
        assert new_device(target) == USED + 1
        found = files(target)
        assert_two_files(found)
        assert not [path for path in target.data.iterdir() if path.name.startswith(".")]
        assert files(source) == found  # the backup had each of them once
    assert file.read_bytes()[:2] == b"\x1f\x8b"


def test_the_commands(tmp_path: Path) -> None:
    fill_site(Place(tmp_path / "site"))
    file = tmp_path / "site.tar"
    done = manager("backup", str(file), "--data", str(tmp_path / "site"))
    assert (done.stderr, done.stdout) == ("", f"{file}: 3 devices, 2 model files, {file.stat().st_size:,} bytes\n")
    done = manager("restore", str(file), "--data", str(tmp_path / "new"))
    assert done.stderr == ""
    assert done.stdout.startswith(f"{tmp_path / 'new'}: 3 devices, 2 model files, as of 2")
    done = manager("restore", str(file), "--data", str(tmp_path / "new"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert_same(Place(tmp_path / "site"), Place(tmp_path / "new"))


def test_a_backup_overwrites_nothing(tmp_path: Path, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(ManagerError, match="exists: give another name, or --force"):
        write_backup(Place(tmp_path / "site"), backup)
    assert backup.read_bytes() == before
    new_device(Place(tmp_path / "site"))
    assert write_backup(Place(tmp_path / "site"), backup, force=True).devices == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "site.tar"]


@pytest.mark.parametrize("kilobytes", [20, 350], ids=["no room for the database", "no room for the archive"])
def test_a_backup_that_fails_leaves_nothing(tmp_path: Path, kilobytes: int) -> None:
    fill_site(Place(tmp_path / "site"))
    with small_disk(tmp_path / "disk", 600):
        fill(tmp_path / "disk", leaving=kilobytes)
        with pytest.raises(ManagerError, match="make room on the disk"):
            write_backup(Place(tmp_path / "site"), tmp_path / "disk" / "site.tar")
        assert [path.name for path in (tmp_path / "disk").iterdir()] == ["ballast"]


def test_what_a_killed_backup_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    site, file = Place(tmp_path / "site"), tmp_path / "site.tar"
    fill_site(site)
    assert killed(BACKUP, str(site.data), str(file))
    (left,) = (path for path in tmp_path.iterdir() if path.name != "site")
    assert [path.name for path in left.iterdir()] == [FILE, "archive"]
    other = tmp_path / f"{left.name}-of-another"
    other.mkdir()
    (other / "file").touch()
    with temporary(lambda: Path(mkdtemp(prefix=".site.tar.backup-", dir=tmp_path)), Path.rmdir) as living:
        write_backup(site, file)
        assert {path.name for path in tmp_path.iterdir()} == {"site", "site.tar", other.name, living.name}


def test_a_backup_holds_only_what_is_served(tmp_path: Path) -> None:
    site = tmp_path / "site"
    fill_site(Place(site))
    (site / "objects" / ".incoming" / "half").write_bytes(b"half a file")
    (tmp_path / "secret").write_bytes(b"not of the site")
    (site / "objects" / "models" / "link").symlink_to(tmp_path / "secret")
    write_backup(Place(site), tmp_path / "site.tar")
    with tarfile.open(tmp_path / "site.tar") as tar:
        names = tar.getnames()
    assert [names[0], len(names), names[-1]] == [FILE, 4, "backup.json"]


def test_a_restore_is_the_owners_of_the_directory(tmp_path: Path, backup: Path) -> None:
    root("only root can give files to another user")
    target = tmp_path / "new"
    target.mkdir()
    os.chown(target, OWNER, OWNER)
    umask = os.umask(0o077)
    try:
        restore_backup(backup, Place(target))
    finally:
        os.umask(umask)
    for path in [target / FILE, *(target / "objects").rglob("*"), target / "objects"]:
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (OWNER, 0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_place_that_is_not_empty_is_refused(tmp_path: Path, postgres: Postgres, backup: Path, engine: str) -> None:
    with an_empty(engine, tmp_path / "new", postgres) as target:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "other").touch()
        with pytest.raises(ManagerError, match="is not empty: it has other; give an empty directory by --data"):
            restore_backup(backup, target)
        (tmp_path / "new" / "other").unlink()
        new_device(target)
        with pytest.raises(ManagerError, match="give an empty d"):
            restore_backup(backup, target)
        assert len(content(target)["devices"]) == 1


def test_a_restore_into_a_directory_that_is_served_is_refused(tmp_path: Path, backup: Path) -> None:
    (tmp_path / "new").mkdir()
    with closing(FolderLock(tmp_path / "new")), pytest.raises(ManagerError, match=r"serves .*: stop it first"):
        restore_backup(backup, Place(tmp_path / "new"))


@pytest.mark.parametrize("table", KILLED_AT)
def test_kill_9_in_a_restore_leaves_the_place_empty(
    tmp_path: Path, postgres_url: str, backup: Path, table: str
) -> None:
    target = Place(tmp_path / "new", postgres_url)
    assert killed(RESTORE, table, str(backup), str(target.data), postgres_url)
    assert_empty(target)
    restore_backup(backup, target)
    assert_same(Place(tmp_path / "site"), target)
    assert [path.name for path in target.data.iterdir()] == ["lock"]
    assert_two_files(files(target))


def rewritten(file: Path, replaced: dict[str, bytes], *, named: dict[str, str] | None = None) -> None:
    """The same archive with other contents, or names, of its members."""
    with tarfile.open(file) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(file, "w") as tar:
        for member, before in members:
            text = replaced.get(member.name, before)
            member.name, member.size = (named or {}).get(member.name, member.name), len(text)
            tar.addfile(member, io.BytesIO(text))


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the database": lambda file: flip(file, 512 + 5000),
    "a bit of a model file": lambda file: flip(file, file.read_bytes().index(MODEL)),
    "half of it": lambda file: os.truncate(file, file.stat().st_size // 2),
    "its end": lambda file: os.truncate(file, file.read_bytes().index(b"backup.json")),
    "no archive": lambda file: file.write_bytes(b"no archive" * 1000),
    "empty": lambda file: os.truncate(file, 0),
    "no manifest": lambda file: rewritten(file, {"backup.json": b"[]"}),
    "another database": lambda file: rewritten(file, {FILE: b"no database"}),
    "a name that leads out": lambda file: rewritten(file, {}, named={FILE: "../out"}),
    "a deep name that leads out": lambda file: rewritten(file, {}, named={FILE: "objects/a/../../../out"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_refused(tmp_path: Path, backup: Path, damage: str) -> None:
    DAMAGES[damage](backup)
    with pytest.raises(ManagerError, match=f"{backup} is damaged, or no backup") as error:
        restore_backup(backup, Place(tmp_path / "new"))
    assert "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
    assert not (tmp_path / "out").exists()


def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    fill_site(Place(tmp_path / "site"))
    write_backup(Place(tmp_path / "site"), tmp_path / "site.tar")
    with tarfile.open(tmp_path / "site.tar") as tar:
        database = bytearray(tar.extractfile(FILE).read())  # type: ignore[union-attr]
        manifest = json.loads(tar.extractfile("backup.json").read())  # type: ignore[union-attr]
    database[60:64] = (99).to_bytes(4, "big")  # user_version
    manifest["files"][FILE]["sha1"] = hashlib.sha1(database).hexdigest()
    rewritten(tmp_path / "site.tar", {FILE: bytes(database), "backup.json": json.dumps(manifest).encode()})
    with pytest.raises(ManagerError, match="has format 99; this program reads formats up to"):
        restore_backup(tmp_path / "site.tar", Place(tmp_path / "new"))


# -- under load --

DEVICES = [f"device-{number}" for number in range(20)]


class Load:
    """Heartbeats of all devices, round after round: each sets the same number in all that is kept of a device."""

    def __init__(self, store: Store) -> None:
        self.acknowledged = 0
        self._store = store
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()

    def wait_for(self, number: int) -> None:
        while self.acknowledged < number:
            assert self._thread.is_alive()
            self._ends.wait(0.01)

    def _run(self) -> None:
        number = 0
        while not self._ends.is_set():
            number += 1
            call = {
                "AgentVersion": str(number),
                "AgentMetrics": [{"Dimension": "s", "MetricName": "round", "Value": number, "Timestamp": number}],
                "Models": [{"ModelName": "m", "ModelVersion": "1", "LatestSampleTime": number}],
                "DeploymentResult": {"DeploymentName": "one", "DeploymentStatus": str(number)},
            }
            beats = [
                HeartbeatCall("f", device, latest_values(call, float(number)), float(number)) for device in DEVICES
            ]
            self._store.record(beats, lambda *arguments: set())
            self.acknowledged = number


ROUNDS = """SELECT agent_version, accepted, newest / 1000000, received, told, result, reported
    FROM device_states JOIN results ON results.device = device_states.device"""


def test_a_backup_under_load_is_of_one_moment(tmp_path: Path, place: Place) -> None:
    with open_place(place) as store:
        store.write(lambda transaction: transaction.register("f", DEVICES, 1.0))
        with Load(store) as load:
            load.wait_for(5)
            before = load.acknowledged
            write_backup(place, tmp_path / "site.tar")
            load.wait_for(load.acknowledged + 2)  # calls go on
    restored = Place(tmp_path / "new")
    restore_backup(tmp_path / "site.tar", restored)
    with closing(open_store(restored, create=False)) as store, store.engine.begin() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(ROUNDS))]
        history = connection.execute(sa.text("SELECT count(*) FROM recent_samples")).scalar_one()
    rounds = {int(row[0]) for row in found}
    assert len(found) == len(DEVICES)
    assert len(rounds) == 1  # one transaction had all devices
    (number,) = rounds
    assert number >= before
    for row in found:
        assert row[:5] == (str(number), *[number] * 4)
        assert json.loads(row[5])["DeploymentStatus"] == str(number)
        reported = unpack(row[6])
        assert list(reported.metrics.values()) == [(number, number)]
        assert reported.models == {("m", "1"): (number, None)}
    assert history == number * len(DEVICES)


def manager(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", "manager", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def killed(code: str, *arguments: str) -> bool:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, timeout=60)
    return done.returncode == -signal.SIGKILL
