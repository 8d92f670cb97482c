"""What `make test` runs once more: a test that fails beside others may pass alone, and nothing else is excused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import alone
from tests.support.paths import ROOT

BESIDE_OTHERS = "'PYTEST_XDIST_WORKER' in os.environ"


def run(folder: Path, tests: str) -> tuple[int, list[str]]:
    """The exit status and the lines of a run with two workers."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"import os, pytest\n\n{tests}")
    command = [sys.executable, "-m", "pytest", "-n2", "-p", "tests.support.alone", "--rootdir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run([*command, "test_it.py"], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)
    return ended.returncode, ended.stdout.splitlines()


def test_what_passes_alone_is_named_in_the_last_line(tmp_path: Path) -> None:
    status, lines = run(tmp_path, f"def test_a(): assert not {BESIDE_OTHERS}\ndef test_b(): pass\n")
    assert (status, lines[-1]) == (0, "failed beside others, passed alone: test_it.py::test_a")


@pytest.mark.parametrize(
    "tests",
    [
        "def test_a(): assert False\n",
        f"def test_a(): assert not {BESIDE_OTHERS}\ndef test_b(): assert False\n",
        f"@pytest.fixture\ndef left():\n    yield\n    assert not {BESIDE_OTHERS}\ndef test_a(left): pass\n",
        f"@pytest.mark.parametrize('n', range({alone.MOST + 1}))\ndef test_a(n): assert not {BESIDE_OTHERS}\n",
        "def test_a(\n",
    ],
    ids=["fails alone", "one of two fails alone", "fails after a test", "too many", "no Python"],
)
def test_nothing_else_is_excused(tmp_path: Path, tests: str) -> None:
    status, lines = run(tmp_path, tests)
    assert status != 0
    assert not any("passed alone" in line for line in lines)
