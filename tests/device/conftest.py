"""Each test of the device is in an empty folder: two processes may run the same one, and none leaves files behind."""

import pytest


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
