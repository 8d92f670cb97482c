"""A database that cannot be used is not left open: from Python 3.13 on, one that is collected open is a warning."""

import os
import sqlite3
from pathlib import Path

import pytest

from gateway.manager import ManagerError, Place, open_store
from gateway.manager.store import FILE
from gateway.storage.state_store import StateStore

DESCRIPTORS = Path("/proc/self/fd")
NO_DATABASE = b"It is something else. " * 100

pytestmark = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="no /proc, which says what is open")


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    numbers = os.listdir(DESCRIPTORS)
    there = [DESCRIPTORS / each for each in numbers if (DESCRIPTORS / each).exists()]
    return any(each.samefile(path) for each in there)


def test_a_managers_database_that_cannot_be_used_is_closed(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(NO_DATABASE)
    with pytest.raises(ManagerError, match="not a database") as refusal:
        open_store(Place(tmp_path), create=False)
    assert not is_open(path)
    assert refusal  # its traceback would keep what was open


def test_a_gateways_database_that_is_set_aside_is_closed(tmp_path: Path) -> None:
    (tmp_path / "hellos.sqlite").write_bytes(NO_DATABASE)
    store = StateStore(tmp_path)
    (kept,) = tmp_path.glob("*.damaged-*")
    assert not is_open(kept)
    assert is_open(tmp_path / "hellos.sqlite")
    store.close()


def test_an_open_database_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE some (n)")
    assert is_open(path)
    db.close()
