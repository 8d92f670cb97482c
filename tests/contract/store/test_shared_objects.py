"""Model files in PostgreSQL: stored from one folder and fetched into others, whole or not at all, each once."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager.errors import ManagerError, S3Error, StoreUnavailable
from gateway.manager.http.model_files import ModelFiles
from gateway.manager.store import ObjectFacts, ObjectStore, Place, Store, StoredFile
from gateway.manager.store.moving import restore_backup, write_backup
from gateway.manager.store.shared_objects import ABANDONED, BATCH, PIECE, find_file, write_file
from gateway.manager.store.tables import OBJECT_PIECES, OBJECTS
from tests.support.arrivals import DEADLINE_S
from tests.support.postgres import Postgres
from tests.support.stores import open_place

SIZES = [1, PIECE - 1, PIECE, PIECE + 1, BATCH * PIECE, 2 * BATCH * PIECE + 7]
LARGE = 48 * 1024 * 1024
GROWTH_KIB = 16 * 1024
# Puts a file and is killed at a statement that begins with the last argument.
KILLED = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from gateway.manager.store import ObjectStore, Place, open_store
@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
store = open_store(Place(Path("none"), sys.argv[1]), create=False)
ObjectStore(Path("none"), store).put_file(Path(sys.argv[2]), "models", "wake")
"""
# Puts and fetches a small file, then a large one; prints by how many KiB the memory of the process grew then.
PEAK = """
import resource, sys
from pathlib import Path
from gateway.manager.store import ObjectStore, Place, open_store
store = open_store(Place(Path("none"), sys.argv[1]), create=True)
objects, peaks = ObjectStore(Path(sys.argv[2]), store), []
for source in sys.argv[3:]:
    stored = objects.put_file(Path(source), "models", "wake")
    assert objects.fetch("models", stored.url.removeprefix("s3://models/"))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


@pytest.fixture
def store(tmp_path: Path, postgres_url: str) -> Iterator[Store]:
    with open_place(Place(tmp_path / "unused", postgres_url)) as opened:
        yield opened


@pytest.fixture
def objects(tmp_path: Path, store: Store) -> ObjectStore:
    """Of a folder without files."""
    return ObjectStore(tmp_path / "here", store)


def content(size: int) -> bytes:
    return hashlib.shake_128(str(size).encode()).digest(size)


def put(objects: ObjectStore, source: Path, data: bytes) -> StoredFile:
    source.write_bytes(data)
    return objects.put_file(source, "models", "wake")


def key_of(stored: StoredFile) -> str:
    return stored.url.removeprefix("s3://models/")


def read(objects: ObjectStore, key: str) -> bytes:
    with closing(objects.open("models", key)) as opened:
        return opened.read(0, opened.size)


def rows(store: Store) -> tuple[int, int]:
    """How many files and pieces the database has."""

    def count(table: sa.Table) -> int:
        select = sa.select(sa.func.count()).select_from(table)
        return store.read(lambda transaction: transaction.connection.scalar(select)) or 0

    return count(OBJECTS), count(OBJECT_PIECES)


def execute(store: Store, statement: str) -> None:
    store.write(lambda transaction: transaction.connection.exec_driver_sql(statement))


def on_statement(store: Store, beginning: str, do: Callable[[], object]) -> None:
    """Before each statement that begins so."""

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def check(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith(beginning):
            do()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_was_put_is_fetched_into_another_folder(
    tmp_path: Path, store: Store, objects: ObjectStore, size: int
) -> None:
    stored = put(ObjectStore(tmp_path / "there", store), tmp_path / "model.tflite", content(size))
    sha1 = hashlib.sha1(content(size)).hexdigest()
    assert stored == StoredFile(f"s3://models/wake/{sha1[:16]}.tflite", size, sha1)
    assert rows(store) == (1, -(-size // PIECE))
    with pytest.raises(S3Error):
        objects.open("models", key_of(stored))
    for _ in range(2):
        assert objects.fetch("models", key_of(stored))
    assert read(objects, key_of(stored)) == content(size)
    assert not (tmp_path / "there").exists()
    assert list((objects.root / ".incoming").iterdir()) == []


def test_all_folders_say_the_same_date(tmp_path: Path, store: Store) -> None:
    dates = []
    for name in ("one", "two"):
        objects = ObjectStore(tmp_path / name, store)
        stored = put(objects, tmp_path / "model", b"model")
        assert objects.fetch("models", key_of(stored))
        with closing(objects.open("models", key_of(stored))) as opened:
            dates.append(opened.modified)
        os.utime(tmp_path / "model", (1, 1))
    assert dates[0] == dates[1]


def test_a_pipe_is_put(tmp_path: Path, objects: ObjectStore) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = content(2 * PIECE + 5)
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    stored = objects.put_file(tmp_path / "pipe", "models", "wake")
    writer.join()
    assert objects.fetch("models", key_of(stored))
    assert read(objects, key_of(stored)) == data


def test_an_empty_file_is_refused(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    with pytest.raises(ManagerError, match="is empty"):
        put(objects, tmp_path / "model", b"")
    assert rows(store) == (0, 0)


def test_the_same_file_is_written_once(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    stored = [put(objects, tmp_path / "model", content(PIECE + 1)) for _ in range(2)]
    assert stored[0] == stored[1]
    assert rows(store) == (1, 2)


def test_two_that_write_the_same_file_leave_it_once(
    tmp_path: Path, store: Store, objects: ObjectStore, postgres_url: str
) -> None:
    begun = threading.Barrier(2, timeout=DEADLINE_S)
    (tmp_path / "model").write_bytes(content(PIECE + 1))
    stored: list[StoredFile] = []

    def deploy() -> None:
        with open_place(Place(tmp_path / "unused", postgres_url)) as another:
            on_statement(another, "SELECT nextval", begun.wait)  # neither has found it
            stored.append(ObjectStore(tmp_path / "unused", another).put_file(tmp_path / "model", "models", "wake"))

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored[0] == stored[1]
    assert rows(store) == (1, 2)
    assert objects.fetch("models", key_of(stored[0]))


@pytest.mark.parametrize("statement", ["INSERT INTO object_pieces", "INSERT INTO objects "])
def test_a_killed_deploy_leaves_no_file_and_the_next_one_removes_its_pieces(
    tmp_path: Path, store: Store, objects: ObjectStore, postgres_url: str, statement: str
) -> None:
    data = content(2 * BATCH * PIECE)
    (tmp_path / "model").write_bytes(data)
    command = [sys.executable, "-c", KILLED, postgres_url, str(tmp_path / "model"), statement]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == -signal.SIGKILL
    assert not objects.fetch("models", f"wake/{hashlib.sha1(data).hexdigest()[:16]}")
    left = rows(store)[1]
    assert left == (0 if statement.endswith("pieces") else 2 * BATCH)
    stored = put(objects, tmp_path / "other", b"other")  # a process that writes still would look the same
    assert rows(store) == (1, left + 1)
    execute(store, f"UPDATE object_pieces SET written = written - {ABANDONED + 1}")
    put(objects, tmp_path / "model", data)
    assert rows(store) == (2, 2 * BATCH + 1)
    assert objects.fetch("models", key_of(stored))


def test_one_that_was_taken_for_dead_is_told(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    (tmp_path / "model").write_bytes(b"model")

    def run(work: Callable[[sa.Connection], Any]) -> Any:
        result = store.write(lambda transaction: work(transaction.connection))
        execute(store, "DELETE FROM object_pieces")
        return result

    with (tmp_path / "model").open("rb") as file, pytest.raises(ManagerError, match="deploy it again"):
        write_file(run, file, "models", lambda sha1: "wake/model", 1.0)
    assert rows(store) == (0, 0)


def test_another_content_of_the_same_name_replaces_it(tmp_path: Path, store: Store) -> None:
    for data in (content(PIECE + 1), b"new"):
        (tmp_path / "model").write_bytes(data)
        with (tmp_path / "model").open("rb") as file, store.engine.begin() as connection:
            write_file(lambda work: work(connection), file, "models", lambda sha1: "by hand", 1.0)
    found = store.read(lambda transaction: find_file(transaction.connection, "models", "by hand"))
    assert (found and found.size, rows(store)) == (3, (1, 1))


@pytest.mark.parametrize("change", ["DELETE FROM object_pieces WHERE piece = 1", "UPDATE object_pieces SET data = ''"])
def test_what_is_damaged_is_not_served(tmp_path: Path, store: Store, objects: ObjectStore, change: str) -> None:
    stored = put(objects, tmp_path / "model", content(3 * PIECE))
    execute(store, change)
    with pytest.raises(OSError, match="is not what was stored"):
        objects.fetch("models", key_of(stored))
    assert [path.name for path in objects.root.rglob("*")] == [".incoming"]


@pytest.mark.parametrize(
    ("bucket", "key"), [("models", "../x"), ("..", "x"), ("models", "a//b"), ("models", "\0"), ("models", "\ud800")]
)
def test_no_name_leads_out_of_the_folder(store: Store, objects: ObjectStore, bucket: str, key: str) -> None:
    if "\0" not in key and "\ud800" not in key:
        row = {"bucket": bucket, "key": key, "size": 0, "sha1": hashlib.sha1(b"").hexdigest(), "modified": 1.0}
        store.write(lambda transaction: transaction.connection.execute(sa.insert(OBJECTS), row))
    assert not objects.fetch(bucket, key)
    assert not objects.root.exists()


def test_what_a_killed_process_left_in_the_folder_is_removed(
    tmp_path: Path, store: Store, objects: ObjectStore
) -> None:
    stored = put(objects, tmp_path / "model", content(PIECE))
    incoming = objects.root / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "tmp-of-the-dead").write_bytes(b"half")
    with objects.incoming() as living:
        assert objects.fetch("models", key_of(stored))
        assert list(incoming.iterdir()) == [living]
    assert list(incoming.iterdir()) == []


def test_a_large_file_needs_no_more_memory(tmp_path: Path, postgres_url: str) -> None:
    sources = [tmp_path / "small", tmp_path / "large"]
    for source, size in zip(sources, (PIECE * BATCH, LARGE), strict=True):
        with source.open("wb") as file:
            file.truncate(size)
    command = [sys.executable, "-c", PEAK, postgres_url, str(tmp_path / "data"), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < GROWTH_KIB


# -- objects that are put by S3 --


def put_object(objects: ObjectStore, key: str, data: bytes, facts: ObjectFacts) -> None:
    with objects.incoming() as path:
        path.write_bytes(data)
        objects.put(path, "models", key, facts, lambda before: None)


def test_copies_follow_what_is_in_the_database(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    """Also where a key takes the place of a folder of others, or the other way."""
    there = ObjectStore(tmp_path / "there", store)
    there.make_bucket("models")
    for key, others in (("a", []), ("a/b", ["a"]), ("a", ["a/b"])):
        for other in others:
            there.delete("models", other, lambda before: None)
        for data in (b"one", b"two"):
            put_object(there, key, data, ObjectFacts(f'"{data.decode()}-2"', {"content-type": "a/b"}))
            assert objects.fetch("models", key)
            with closing(objects.open("models", key)) as opened:
                assert (opened.read(0, 3), opened.etag) == (data, f'"{data.decode()}-2"')
    there.delete("models", "a", lambda before: None)
    assert not objects.fetch("models", "a")
    with pytest.raises(S3Error):
        objects.open("models", "a")
    assert rows(store)[1] == 0


def test_a_put_that_is_refused_leaves_no_pieces(store: Store, objects: ObjectStore) -> None:
    objects.make_bucket("models")
    put_object(objects, "a", b"one", ObjectFacts('"1"'))
    before = rows(store)
    with pytest.raises(S3Error):
        put_object(objects, "a/b", b"two", ObjectFacts('"2"'))
    assert rows(store) == before


def test_a_backup_has_the_facts(tmp_path: Path, store: Store, objects: ObjectStore, postgres_url: str) -> None:
    objects.make_bucket("models")
    facts = ObjectFacts('"1-1"', {"content-type": "a/b"}, (3,))
    put_object(objects, "a", b"one", facts)
    with objects.incoming() as path:
        objects.put_unchecked(path, ".uploads", "0/00001", ObjectFacts('"2"'), lambda before: None)
    assert write_backup(Place(tmp_path / "here", postgres_url), tmp_path / "backup").models == 1
    restore_backup(tmp_path / "backup", Place(tmp_path / "restored"))
    with closing(ObjectStore(tmp_path / "restored").open("models", "a")) as opened:
        assert (opened.read(0, 3), opened.etag, opened.facts) == (b"one", '"1-1"', facts)


# -- requests --


async def test_requests_at_once_fetch_a_file_once(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    stored = put(objects, tmp_path / "model", content(BATCH * PIECE))
    reads: list[None] = []
    on_statement(store, "SELECT object_pieces.data", lambda: reads.append(None))
    files = ModelFiles(objects)
    opened = await asyncio.gather(*(files.open("models", key_of(stored)) for _ in range(20)))
    for each in opened:
        assert each.read(0, each.size) == content(BATCH * PIECE)
        each.close()
    assert len(reads) == 1
    await files.close()


async def test_the_end_gives_a_fetch_up(tmp_path: Path, store: Store, objects: ObjectStore) -> None:
    stored = put(objects, tmp_path / "model", content(3 * BATCH * PIECE))
    files, loop = ModelFiles(objects), asyncio.get_running_loop()
    reads, begun = threading.Semaphore(0), asyncio.Event()

    def stop_there() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert reads.acquire(timeout=DEADLINE_S)

    on_statement(store, "SELECT object_pieces.data", stop_there)
    asked = asyncio.create_task(files.open("models", key_of(stored)))
    await begun.wait()
    ended = asyncio.create_task(files.close())
    await asyncio.sleep(0)  # it said so before the thread goes on
    reads.release()
    await ended
    with suppress(asyncio.CancelledError), pytest.raises(StoreUnavailable):
        await asked
    assert [path.name for path in objects.root.rglob("*")] == [".incoming"]


async def test_a_database_that_is_away_stops_no_file_of_the_folder(tmp_path: Path) -> None:
    with Postgres(tmp_path / "server") as server, open_place(Place(tmp_path / "unused", server.url())) as store:
        objects = ObjectStore(tmp_path / "here", store)
        here, there = (put(objects, tmp_path / "model", data) for data in (b"here", b"there"))
        files = ModelFiles(objects)
        (await files.open("models", key_of(here))).close()
        await asyncio.to_thread(server.stop)
        with closing(await files.open("models", key_of(here))) as opened:
            assert opened.read(0, 4) == b"here"
        with pytest.raises(StoreUnavailable):
            await files.open("models", key_of(there))
        await asyncio.to_thread(server.start)
        (await files.open("models", key_of(there))).close()
        await files.close()
