"""A database that cannot be used is not left open: from Python 3.13 on, one that is collected open is a warning."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.manager import ManagerError, open_database
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


@pytest.mark.parametrize(
    ("name", "opening"),
    [(FILE, lambda folder: open_database(folder, create=False)), ("hellos.sqlite", StateStore)],
    ids=["manager", "gateway"],
)
def test_a_database_that_cannot_be_used_is_closed(name: str, opening: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(NO_DATABASE)
    with pytest.raises((ConfigError, ManagerError), match="not a database") as refusal:
        opening(tmp_path)
    assert not is_open(path)
    assert refusal  # its traceback would keep what was open


def test_an_open_database_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE some (n)")
    assert is_open(path)
    db.close()
