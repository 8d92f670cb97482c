"""A database in a temporary directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.manager.store import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path, create=True)
    yield opened
    opened.close()
