"""The vectors' files are what their tables say, and each name is there once."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.arrivals import DEADLINE_S
from tests.support.paths import ROOT

FOLDER = ROOT / "tests" / "vectors"


def test_make_writes_the_files_that_are_here(tmp_path):
    for source in FOLDER.glob("*.py"):
        shutil.copy(source, tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True, timeout=DEADLINE_S)
    written = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert written == {path.name: path.read_text() for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", ["messages", "malformed", "digests"])
def test_names_are_there_once(name):
    names = [each["name"] for each in json.loads((FOLDER / f"{name}.json").read_text())["vectors"]]
    assert len(names) == len(set(names)) > 10


def test_both_kinds_cover_every_channel():
    for name in ("messages", "malformed"):
        channels = {each["channel"] for each in json.loads((FOLDER / f"{name}.json").read_text())["vectors"]}
        assert channels == {"hello", "hb", "get", "read", "live", "plan", "ack", "block"}
