"""The servers of PostgreSQL that the tests of the Edge Manager's store run on: each serves, and one may be killed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.postgres import PgBouncer, Postgres, answers, new_database, remove_shared_memory
from tests.support.processes import is_alive, line, running

ENGINES = [
    "postgres_url",
    "pgbouncer_url",
    pytest.param("postgres_container_url", marks=pytest.mark.container),
]
# Starts a server in the folder that it is given, says its URL and process, and ends without a cleanup.
FORGETFUL = """
import os, sys
from pathlib import Path
from tests.support.postgres import Postgres
server = Postgres(Path(sys.argv[1])).__enter__()
print(server.url(), server.pid, flush=True)
sys.stdin.readline()
os._exit(1)
"""


def connect(url: str) -> psycopg.Connection:
    """As the store is to connect: without prepared statements, which PgBouncer may look for on another connection."""
    return psycopg.connect(url, prepare_threshold=None)


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind of server."""
    return str(request.getfixturevalue(request.param))


def test_rows_are_written_and_read(url: str) -> None:
    with connect(url) as writer:
        writer.execute("CREATE TABLE heartbeats (device bigint, at timestamptz, blob bytea)")
        rows = "SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bytea[])"
        times = ["2026-11-30T10:00:00Z", "2026-11-30T10:00:01Z"]
        writer.execute(f"INSERT INTO heartbeats {rows}", [[1, 2], times, [b"a\0", b"b"]])
    with connect(url) as reader:
        found = reader.execute("SELECT device, blob FROM heartbeats ORDER BY at").fetchall()
    assert found == [(1, b"a\0"), (2, b"b")]


def test_a_statement_runs_often_for_several_clients(url: str) -> None:
    """Their transactions share a connection of PgBouncer, on which both would prepare a statement of the same name."""
    with connect(url) as one, connect(url) as other:
        for number in range(20):
            for each in (one, other):
                assert each.execute("SELECT %s::int", [number]).fetchone() == (number,)
                each.commit()


@pytest.mark.container
def test_the_container_is_of_the_oldest_version_that_is_supported(postgres_container_url: str) -> None:
    with connect(postgres_container_url) as client:
        assert client.info.server_version // 10_000 == 15


def test_each_database_is_empty_and_goes(postgres: Postgres) -> None:
    with new_database(postgres) as first, connect(first) as client:
        client.execute("CREATE TABLE one (id int)")
        client.commit()
        with new_database(postgres) as second, connect(second) as other:
            assert other.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(first)


def killed(server: Postgres) -> None:
    server.kill()


def stopped(server: Postgres) -> None:
    server.stop()


@pytest.mark.parametrize("end", [killed, stopped])
def test_what_was_committed_is_there_when_it_starts_again(own_postgres: Postgres, end: Callable[..., None]) -> None:
    with connect(own_postgres.url()) as client:
        client.execute("CREATE TABLE kept (id int)")
        client.execute("INSERT INTO kept VALUES (1)")
        client.commit()
        client.execute("INSERT INTO kept VALUES (2)")
        end(own_postgres)
        assert not answers(own_postgres)
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    own_postgres.start()
    with connect(own_postgres.url()) as client:
        assert client.execute("SELECT id FROM kept").fetchall() == [(1,)]


def test_its_processes_end_with_the_one_that_started_it(tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running([sys.executable, "-c", FORGETFUL, str(tmp_path)], cwd=ROOT, **pipes) as forgetful:
        url, pid = line(forgetful, "URL").split()
        with connect(url) as client:
            pids = [int(pid), client.info.backend_pid]
            assert all(map(is_alive, pids))
            forgetful.kill()
            until(lambda: not any(map(is_alive, pids)), lambda: f"some of {pids} still run")
    remove_shared_memory(tmp_path / "data")


def test_pgbouncer_gives_a_connection_for_a_transaction(pgbouncer: PgBouncer, pgbouncer_url: str) -> None:
    """More clients than connections: each gets one as soon as a transaction is over."""
    clients = [connect(pgbouncer_url) for _ in range(3 * pgbouncer.connections)]
    try:
        seen = set()
        for each in clients:
            seen.add(each.execute("SELECT pg_backend_pid()").fetchone())
            each.commit()
        assert len(seen) <= pgbouncer.connections
    finally:
        for each in clients:
            each.close()
