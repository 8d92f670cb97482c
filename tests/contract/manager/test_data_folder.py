"""The commands on a folder that belongs to the service's account, that is full, read-only, or locked by a writer."""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.manager import Place, open_store
from gateway.manager.store import FILE
from tests.support.manager_process import COMMAND, Manager

NOBODY = 65534
READING = (
    ["devices"],
    ["status", "f"],
    ["status", "--summary"],
    ["deployments"],
    ["deployments", "--devices"],
    ["log", "f", "d"],
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def idle(tmp_path: Path) -> Manager:
    """A data directory with the device f/d, which no process serves."""
    return made(Manager(tmp_path / "data"))


def made(manager: Manager) -> Manager:
    open_store(Place(manager.data), create=True).close()
    manager.run("register", "f", "d")
    return manager


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system of 1 MB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Until the file system has no room."""
    with path.open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_all_can_be_read(manager: Manager) -> None:
    for arguments in READING:
        manager.run(*arguments)
    (report,) = json.loads(manager.run("status", "--json").stdout)
    assert report["device"] == "d"


def test_reading_commands_write_nothing(idle: Manager) -> None:
    before = files(idle.data)
    assert_all_can_be_read(idle)
    assert files(idle.data) == before


def test_reading_commands_do_not_wait_for_a_writer(idle: Manager) -> None:
    with closing(sqlite3.connect(idle.data / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE devices SET plan = 7")
        assert_all_can_be_read(idle)
        other.execute("ROLLBACK")


@as_root
@pytest.mark.parametrize("served", [False, True], ids=["idle", "served"])
def test_reading_commands_work_on_a_full_disk(tmp_path: Path, served: bool) -> None:
    with mounted(tmp_path / "small"):
        manager = made(Manager(tmp_path / "small" / "data"))
        if served:
            manager.start()
        try:
            fill(tmp_path / "small" / "rest")
            assert_all_can_be_read(manager)
        finally:
            manager.stop()


@as_root
def test_reading_commands_work_on_a_read_only_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small"):
        manager = made(Manager(tmp_path / "small" / "data"))
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "small")], check=True)
        assert_all_can_be_read(manager)
        said = manager.run("register", "f", "e", status=2).stderr
        assert "Read-only file system; name a folder that can be written" in said


@as_root
def test_what_root_makes_in_the_folder_of_the_service_is_the_services(tmp_path: Path) -> None:
    """As a `DynamicUser`'s folder, under root's umask 077."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, NOBODY, NOBODY)
    (tmp_path / "model.tflite").write_bytes(b"a model")
    before = os.umask(0o077)
    try:
        manager = made(Manager(data))
        manager.run("deploy", "f", "d", f"kws={tmp_path / 'model.tflite'}")
        manager.start()
        manager.stop()
    finally:
        os.umask(before)
    paths = list(data.rglob("*"))
    assert len(paths) >= 7
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(NOBODY, NOBODY)}
    for path in (data / "objects", *(data / "objects").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_model_files_can_be_read_whatever_the_umask(idle: Manager, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"a model")
    before = os.umask(0o077)
    try:
        idle.run("deploy", "f", "d", f"kws={tmp_path / 'model.tflite'}")
    finally:
        os.umask(before)
    for path in (idle.data / "objects").rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_a_command_on_postgresql_makes_no_data_folder(idle: Manager, tmp_path: Path) -> None:
    """Its model files are in the database."""
    (tmp_path / "model.tflite").write_bytes(b"a model")
    shutil.rmtree(idle.data)
    arguments = ["deploy", "f", "d", f"kws={tmp_path / 'model.tflite'}", "--database", "postgresql://127.0.0.1:1/none"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert not (tmp_path / "edge-manager-data").exists()
