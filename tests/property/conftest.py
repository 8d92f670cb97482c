"""What property tests share."""

from pathlib import Path

import pytest

from gateway.manager.store import FILE, Place, open_store


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Edge Manager's file of SQLite with its tables empty, of which each example copies one."""
    place = Place(tmp_path_factory.mktemp("store"))
    open_store(place, create=True).close()
    return place.data / FILE
