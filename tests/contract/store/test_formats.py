"""The format of the database: made, changed from each earlier one, refused; on both engines.

`files` has databases of earlier versions, byte for byte as their `manager serve` left them, by xz: of the last commit
with format 1 (a9c3a34), with format 2 (475f418) and with format 3 (4e2e770). Each had two fleets with seven devices, of
which one was deregistered, calls of four of them over HTTP, and deployments by the commands.
"""

import json
import lzma
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

from gateway.manager.cli import app
from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.store import FILE, Place, Store, StoredFile, add_package, formats, migrations, open_store
from gateway.manager.store.reported import unpack
from gateway.manager.store.tables import METADATA
from tests.support.disks import fill, make_room, small_disk
from tests.support.polling import until
from tests.support.postgres import Postgres, answers
from tests.support.processes import line, running

FILES = Path(__file__).parent / "files"
OLD_FORMATS = (1, 2, 3)
OPENER = """
import pathlib, sys
from gateway.manager.store import Place, open_store
open_store(Place(pathlib.Path(sys.argv[1]), sys.argv[2] or None), create=True).close()
"""
"""Opens the database as `serve` does."""
WAITING = f"""
import gateway.manager.store.migrations
print("ready", flush=True)
input()
{OPENER}
print("open", flush=True)
"""
KILLED = (
    """
import os, signal
import sqlalchemy as sa
@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement == "DROP TABLE old_devices":
        os.kill(os.getpid(), signal.SIGKILL)
"""
    + OPENER
)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty one of each engine."""
    return Place(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgresql" else None)


def old_file(folder: Path, version: int) -> Path:
    """A file of that format in the data directory `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / FILE
    path.write_bytes(lzma.decompress((FILES / f"format-{version}.sqlite3.xz").read_bytes()))
    return path


@contextmanager
def opened(place: Place, *, create: bool = True, read_only: bool = False) -> Iterator[Store]:
    with closing(open_store(place, create=create, read_only=read_only)) as store:
        yield store


def rows(database: Path | Store, select: str) -> list[tuple[Any, ...]]:
    if isinstance(database, Store):
        return database.read(
            lambda transaction: [tuple(row) for row in transaction.connection.execute(sa.text(select))]
        )
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(select).fetchall()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def set_format(place: Place, difference: int) -> None:
    with opened(place) as store, store.engine.begin() as connection:
        if place.url is None:
            connection.exec_driver_sql(f"PRAGMA user_version = {formats.FORMAT + difference}")
        else:
            version = f"{int(migrations.HEAD) + difference:04}"
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")


# -- what is made --


def assert_as_in_tables(store: Store) -> None:
    with store.engine.begin() as connection:
        options = {
            "compare_type": True,
            # An empty default is taken for none in SQLite, whose statements another test compares.
            "compare_server_default": connection.dialect.name == "postgresql",
            "include_name": lambda name, kind, parents: kind != "table" or name != "alembic_version",
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def sqlite_statements(path: Path) -> set[tuple[str, ...]]:
    select = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version' AND sql IS NOT NULL"
    return set(rows(path, select))


def options_of_tables(connection: sa.Connection) -> list[tuple[Any, ...]]:
    """What Alembic does not compare."""
    select = "SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    return sorted(tuple(row) for row in connection.execute(sa.text(f"{select} AND relname != 'alembic_version'")))


def test_the_migrations_make_the_tables_that_the_program_has(place: Place) -> None:
    with opened(place) as store:
        assert_as_in_tables(store)


def test_of_sqlite_each_statement_is_the_same(tmp_path: Path) -> None:
    with opened(Place(tmp_path)):
        pass
    METADATA.create_all(sa.create_engine(f"sqlite:///{tmp_path / 'other'}"))
    assert sqlite_statements(tmp_path / FILE) == sqlite_statements(tmp_path / "other")


def test_of_postgresql_the_tables_have_the_same_options(postgres_url: str) -> None:
    with opened(Place(url=postgres_url)) as store, store.engine.begin() as connection:
        made = options_of_tables(connection)
        METADATA.drop_all(connection)
        METADATA.create_all(connection)
        assert made == options_of_tables(connection)


def test_the_newest_revision_is_the_one_that_is_named() -> None:
    config = Config()
    config.set_main_option("script_location", "gateway.manager.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_opening_it_again_changes_nothing(place: Place) -> None:
    with opened(place) as store:
        store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
    with opened(place) as store:
        assert rows(store, "SELECT name FROM devices") == [("d",)]


def test_through_pgbouncer_in_transaction_mode(pgbouncer_url: str) -> None:
    with opened(Place(url=pgbouncer_url)) as store:
        assert_as_in_tables(store)


@pytest.mark.container
def test_the_oldest_postgresql(postgres_container_url: str) -> None:
    with opened(Place(url=postgres_container_url)) as store:
        assert_as_in_tables(store)


def test_several_processes_may_make_it_at_once(place: Place) -> None:
    command = [sys.executable, "-c", WAITING, str(place.data), place.url or ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as ended:
        processes = [ended.enter_context(running(command, **pipes)) for _ in range(4)]
        assert [line(each, "ready") for each in processes] == ["ready\n"] * 4
        for each in processes:
            print("go", file=each.stdin, flush=True)
        assert [line(each, "open") for each in processes] == ["open\n"] * 4
    with opened(place) as store:
        assert_as_in_tables(store)


# -- files of earlier versions --

Same = dict[str, tuple[str, str]]
BOTH = {
    "deployments": "SELECT id, device, name, policy, definitions, created, in_force FROM deployments ORDER BY id",
    "results": "SELECT device, deployment, result, received, told FROM results ORDER BY 1, 2",
    "rollout_devices": "SELECT device, rollout, place, state FROM rollout_devices ORDER BY 1, 2",
    "rollout_counts": "SELECT rollout, state, devices FROM rollout_counts ORDER BY 1, 2",
}
"""One statement reads the same from an earlier format and from the newest."""
ROLLOUT = "policy, definitions, rollouts.created, rules, undoes, state, reason, stage, {since} FROM rollouts"
OTHERS = {
    "devices": (
        "SELECT id, fleet, device, registered FROM devices ORDER BY id",
        "SELECT devices.id, fleets.name, devices.name, registered FROM devices JOIN fleets ON fleets.id = fleet"
        " ORDER BY devices.id",
    ),
    "device_metrics": (
        "SELECT device, model, version, dimension, name FROM metrics WHERE dimension != 'liveness'"
        " ORDER BY 1, 2, 3, 4, 5",
        "SELECT device, model, version, dimension, name FROM device_metrics"
        " JOIN metric_names ON metric_names.id = metric ORDER BY 1, 2, 3, 4, 5",
    ),
    "device_models": (
        "SELECT device, name, version, version = (SELECT version FROM models AS others"
        " WHERE others.device = models.device AND others.name = models.name"
        " ORDER BY coalesce(sample, inference, 0) DESC, version DESC LIMIT 1) FROM models ORDER BY 1, 2, 3",
        "SELECT device, name, version, newest FROM device_models ORDER BY 1, 2, 3",
    ),
    "heartbeats": (
        "SELECT device, agent_version, accepted, printf('%.3f', newest) FROM heartbeats ORDER BY 1",
        "SELECT device, agent_version, accepted, printf('%.3f', newest / 1e6) FROM device_states WHERE accepted > 0"
        " ORDER BY 1",
    ),
    "fleets": (
        "SELECT fleet, min(registered) FROM devices GROUP BY fleet ORDER BY fleet",
        "SELECT name, created FROM fleets ORDER BY name",
    ),
    "rollouts": (
        f"SELECT id, fleet, name, {ROLLOUT.format(since='since')} ORDER BY id",
        f"SELECT rollouts.id, fleets.name, rollouts.name, {ROLLOUT.format(since='counted')}"
        " JOIN fleets ON fleets.id = fleet ORDER BY rollouts.id",
    ),
    "liveness": (
        "SELECT device, state, round(seconds * 1e6), round(at * 1e6), heartbeats FROM liveness ORDER BY 1",
        "SELECT device, announced, seconds, announced_at, heartbeats FROM device_states"
        " WHERE announced IS NOT NULL ORDER BY 1",
    ),
}
"""One statement for the earlier format, one for the newest."""


def statements(version: int) -> Same:
    """What is kept of a file of that format: (how it is read from it, how from the newest)."""
    new = ["rollouts", "rollout_devices", "rollout_counts"] * (version < 2) + ["liveness"] * (version < 3)
    every: Same = {name: (select, select) for name, select in BOTH.items()} | OTHERS
    return {name: each for name, each in every.items() if name not in new}


METRICS = "SELECT * FROM metrics WHERE dimension != 'liveness' ORDER BY 1, 2, 3, 4, 5"
MODELS = "SELECT device, name, version, sample, inference FROM models ORDER BY 1, 2, 3"


def newest_values(store: Store) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """As METRICS and MODELS read them from the earlier format."""
    stored = {device: unpack(each) for device, each in rows(store, "SELECT device, reported FROM device_states")}
    names = {
        number: key for number, *key in rows(store, "SELECT id, model, version, dimension, name FROM metric_names")
    }
    return (
        sorted(
            (device, *names[metric], *each) for device, kept in stored.items() for metric, each in kept.metrics.items()
        ),
        sorted((device, *model, *times) for device, kept in stored.items() for model, times in kept.models.items()),
    )


SEQUENCES = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('devices', 'deployments') ORDER BY name"


@pytest.mark.parametrize("version", OLD_FORMATS)
def test_nothing_is_lost_of_an_older_file(tmp_path: Path, version: int) -> None:
    before = old_file(tmp_path / "before", version)
    path = old_file(tmp_path / "data", version)
    with opened(Place(path.parent)) as store:
        assert_as_in_tables(store)
        for name, (old, new) in statements(version).items():
            expected = rows(before, old)
            assert expected, name
            assert rows(store, new) == expected, name
        assert newest_values(store) == (rows(before, METRICS), rows(before, MODELS))
        assert rows(store, SEQUENCES) == rows(before, SEQUENCES)
        assert rows(store, "PRAGMA foreign_key_check") == []
        assert rows(store, "PRAGMA integrity_check") == [("ok",)]
        assert rows(store, "PRAGMA auto_vacuum") == [(2,)]
    assert rows(path, "PRAGMA user_version") == [(formats.FORMAT,)]  # which the versions before refuse
    assert not [name for _, name, _ in sqlite_statements(path) if name.startswith("old_")]


def test_an_older_file_has_the_statements_of_a_new_one(tmp_path: Path) -> None:
    path = old_file(tmp_path / "data", 3)
    for data in (path.parent, tmp_path / "new"):
        with opened(Place(data)):
            pass
    assert sqlite_statements(path) == sqlite_statements(tmp_path / "new" / FILE)


def test_deployments_of_format_1_become_rollouts(tmp_path: Path) -> None:
    with opened(Place(old_file(tmp_path, 1).parent)) as store:
        select = "SELECT rollouts.name, state, devices FROM rollout_counts JOIN rollouts ON rollouts.id = rollout"
        assert rows(store, "SELECT count(*) FROM rollouts") == [(3,)]
        assert sum(row[2] for row in rows(store, select.replace("state", "rollout_counts.state"))) == 7


def test_numbers_of_what_was_deleted_do_not_come_again(tmp_path: Path) -> None:
    with opened(Place(old_file(tmp_path, 3).parent)) as store:
        store.write(lambda transaction: transaction.register("house", ["new"], 1.0))
        assert rows(store, "SELECT id FROM devices WHERE name = 'new'") == [(8,)]  # 7 was deregistered


def test_states_of_devices_are_judged_and_counted(tmp_path: Path) -> None:
    with opened(Place(old_file(tmp_path, 3).parent)) as store:
        select = "SELECT name, state FROM devices JOIN device_states ON device = devices.id ORDER BY devices.id"
        assert rows(store, select)[2:4] == [("attic", "gone"), ("barn", "not announced")]
        counted = "SELECT fleet, state, count(*) FROM device_states GROUP BY fleet, state"
        assert rows(store, f"{counted} ORDER BY 1, 2") == rows(store, "SELECT * FROM fleet_states ORDER BY 1, 2")
        counted = (
            "SELECT fleet, device_models.name, version, count(*) FROM device_models JOIN devices ON devices.id = device"
            " WHERE newest GROUP BY fleet, device_models.name, version"
        )
        models = rows(store, f"{counted} ORDER BY 1, 2, 3")
        assert models
        assert models == rows(store, "SELECT * FROM fleet_models ORDER BY 1, 2, 3")


def test_devices_with_deployments_have_them_to_fetch(tmp_path: Path) -> None:
    """The first GetDeployments afterwards marks them in their rollouts."""
    with opened(Place(old_file(tmp_path, 3).parent)) as store:
        has = "EXISTS (SELECT 1 FROM deployments WHERE device = devices.id)"
        assert rows(store, f"SELECT id FROM devices WHERE (plan > fetched) != {has}") == []


@pytest.mark.parametrize("version", OLD_FORMATS)
def test_kill_9_in_the_middle_leaves_the_file_as_it_was(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path, version)
    before = dump(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), ""], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert dump(path) == before
    assert rows(path, "PRAGMA user_version") == [(version,)]
    with opened(Place(tmp_path)) as store:
        assert_as_in_tables(store)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 500):
        path = old_file(tmp_path / "disk", 3)
        before = dump(path)
        fill(tmp_path / "disk", leaving=64)
        with pytest.raises(ManagerError, match=r"full|disk I/O error"), opened(Place(tmp_path / "disk")):
            pass
        make_room(tmp_path / "disk")
        assert dump(path) == before
        with opened(Place(tmp_path / "disk")) as store:
            assert_as_in_tables(store)


def test_a_file_that_cannot_be_written_anew_serves_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "disk"
    with small_disk(data, 1000):
        with opened(Place(data)):
            pass
        with closing(sqlite3.connect(data / FILE)) as connection:
            connection.execute("PRAGMA auto_vacuum = NONE")
            connection.execute("VACUUM")
        fill(data, leaving=100)
        with opened(Place(data)) as store:
            assert rows(store, "PRAGMA auto_vacuum") == [(0,)]
            store.write(lambda transaction: transaction.register("f", ["d"], 1.0))
        assert "its file never becomes smaller" in capfd.readouterr().out
        make_room(data)
        with opened(Place(data)) as store:
            assert rows(store, "PRAGMA auto_vacuum") == [(2,)]
            assert rows(store, "SELECT name FROM devices") == [("d",)]


@pytest.mark.parametrize("version", OLD_FORMATS)
def test_what_was_deployed_before_is_the_package_that_deploy_would_make(tmp_path: Path, version: int) -> None:
    old_file(tmp_path, version)
    packages = "SELECT name, request, model, version, status, url, size, sha1 FROM packages ORDER BY url"
    with opened(Place(tmp_path)) as store, opened(Place(tmp_path / "other")) as other:
        deployed = [each for (text,) in rows(store, "SELECT definitions FROM rollouts") for each in json.loads(text)]
        files = {(each["handle"], each["url"], each["size"], each["sha1"]) for each in deployed if each["url"]}
        for model, *file in files:
            add = partial(add_package, model=model, version=None, file=StoredFile(*file), now=1.0)
            other.write(lambda transaction: add(transaction.connection))  # noqa: B023  (called at once)
        assert files
        assert rows(store, packages) == rows(other, packages)


# -- what is refused --


@pytest.mark.parametrize("options", [{"create": True}, {"create": False}, {"create": False, "read_only": True}])
def test_a_newer_format_is_refused(place: Place, options: dict[str, bool]) -> None:
    set_format(place, 1)
    expected = f"has format {formats.FORMAT + 1}; this program reads formats up to {formats.FORMAT}$"
    with pytest.raises(ManagerError, match=expected):
        open_store(place, **options)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("version", OLD_FORMATS)
def test_an_older_format_is_for_serve_to_change(tmp_path: Path, version: int, read_only: bool) -> None:
    path = old_file(tmp_path, version)
    before = dump(path)
    with pytest.raises(ManagerError, match="has an older format: start `manager serve` once, which changes it"):
        open_store(Place(tmp_path), create=False, read_only=read_only)
    assert dump(path) == before


@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_without_tables_is_for_serve_to_make(postgres_url: str, read_only: bool) -> None:
    with pytest.raises(ManagerError, match="has no Edge Manager data: start `manager serve` with it once, or correct"):
        open_store(Place(url=postgres_url), create=False, read_only=read_only)


def refused(url: str) -> str:
    with pytest.raises(ManagerError) as error:
        open_store(Place(url=url), create=True)
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, StoreUnavailable)  # it is a mistake: to try again does not help
    return str(error.value)


def test_a_database_that_does_not_exist(postgres: Postgres) -> None:
    assert refused(postgres.url("none")).endswith("does not exist; create it (createdb), or correct --database")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:1"])
def test_a_server_that_is_away(host: str) -> None:
    """It may come back, or its name be resolved: systemd starts the service again."""
    with pytest.raises(StoreUnavailable, match="; start the server, or correct host and port"):
        open_store(Place(url=f"postgresql://{host}/x"), create=True)
    done = CliRunner().invoke(app, ["devices", "--database", f"postgresql://{host}/x"])
    assert done.exit_code == 1


def test_a_user_without_the_right_to_make_tables(postgres: Postgres, postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    error = refused(postgres_url.replace("postgres@", "guest@"))
    assert error.endswith("; make that user the owner of the database, or grant it CREATE on the schema")


def test_a_wrong_password_is_not_shown(own_postgres: Postgres) -> None:
    import psycopg

    with psycopg.connect(own_postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'right'")
        (own_postgres.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    until(lambda: not answers(own_postgres), lambda: "the server asks for no password")
    url = own_postgres.url().replace("postgres@", "guest:wrong-secret@")
    error = refused(url)
    assert "wrong-secret" not in error
    assert error.endswith("; correct the user, or give the password by PGPASSWORD or PGPASSFILE")


def test_an_old_server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "OLDEST_SERVER", 99)
    assert refused(postgres_url).endswith(": 99 or later is needed")


@pytest.mark.parametrize("url", ["mysql://host/x", "nonsense", "postgresql://user:secret@host:port/x"])
def test_what_is_no_url_of_postgresql(url: str) -> None:
    assert "secret" not in refused(url)
    assert "is not a URL: postgresql://user@host/name" in refused(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, but longer than its header is" * 10)
    for read_only in (True, False):
        with pytest.raises(ManagerError, match="not a database; put a copy in its place"):
            open_store(Place(tmp_path), create=False, read_only=read_only)


def test_a_directory_without_a_database(tmp_path: Path) -> None:
    with pytest.raises(ManagerError, match="no Edge Manager data"):
        open_store(Place(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []
