"""The README's ten lines, executed as they stand there: a plan with a model file is carried out and told."""

import hashlib
import os
import re
import sys

import pytest

from tests.support.processes import running

from .conftest import ROOT

MODEL = b"a model" * 100
LINES = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)[1]


@pytest.fixture(params=["cpython", "micropython"])
def board(request, broker, tmp_path):
    """Runs the lines against the broker of the test; only its address is another."""
    text = LINES.replace('"broker.local"', '"127.0.0.1"').replace('"secret")', f'"secret", {broker.port})')
    (tmp_path / "main.py").write_text(text)
    command = [sys.executable] if request.param == "cpython" else [request.getfixturevalue("micropython")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MICROPYPATH": str(ROOT)}
    with running([*command, "main.py"], cwd=tmp_path, env=environment):
        yield tmp_path


def test_there_are_ten():
    assert len([line for line in LINES.splitlines() if line.strip()]) <= 10


def test_they_make_a_managed_device(gateway, board):
    assert gateway.wait(lambda channel, value: channel == "hello")[1][1] == [["room", "temperature", -1]]
    assert gateway.wait(lambda channel, value: channel == "hb")[2:] == [[213], None, 0]
    checksum = hashlib.sha1(MODEL, usedforsecurity=False).digest()
    gateway.say("plan", [7, [["deploy-7", 0, [["kws", 1, checksum], ["old", 0]]]]], retain=True)
    assert gateway.wait(lambda channel, value: channel == "read")[:3] == [7, 0, 0]
    gateway.say("block", [7, 0, 0, len(MODEL), MODEL])
    result = gateway.wait(lambda channel, value: channel == "hb" and len(value) > 5)[5]
    assert (result[0], result[1]) == ("deploy-7", "SUCCESS")
    assert (board / "kws").read_bytes() == MODEL
