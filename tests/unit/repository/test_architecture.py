"""The contracts of imports in pyproject.toml (Import Linter) hold, and an import against any of them is found.

Each test runs `lint-imports` as `make lint` does, on the tree or on a copy of it with one import more.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.support import source
from tests.support.paths import ROOT


def broken_contracts(tree: Path) -> set[str]:
    """The names of the contracts that the packages in `tree` break."""
    program: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    command = [*program, "--config", ROOT / "pyproject.toml"]
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, env={"PYTHONPATH": str(tree), "COLUMNS": "200"}
    )
    assert done.returncode in (0, 1), done.stderr
    found = set(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE))
    assert bool(found) == bool(done.returncode), done.stdout
    return found


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, to which a test may add a file."""
    tree = tmp_path_factory.mktemp("tree")
    for package in ("gateway", "device_sdk"):
        copytree(ROOT / package, tree / package, ignore=ignore_patterns("__pycache__"))
    return tree


def test_every_contract_is_kept() -> None:
    assert broken_contracts(ROOT) == set()


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("gateway/mqtt/new.py", "from gateway.protocol import messages", "imports run down"),
        ("gateway/core/new.py", "from gateway.cloud import client", "imports run down"),
        ("gateway/core/new.py", "def late():\n    from gateway.pipeline import dispatcher", "imports run down"),
        ("gateway/new.py", "", "imports run down"),
        ("gateway/config/settings.py", "from gateway.config import loader", "no circle"),
        ("gateway/core/new.py", "import time", "performs no I/O"),
        ("gateway/protocol/new.py", "from asyncio import Queue", "performs no I/O"),
        ("gateway/manager/new.py", "from gateway.protocol import messages", "the Edge Manager is independent"),
        ("gateway/manager/store/schema.py", "from gateway.manager import rollouts", "imports of the Edge Manager"),
        ("gateway/app.py", "import device_sdk.agent", "the device SDK is independent"),
        ("device_sdk/new.py", "from gateway.errors import Code", "the device SDK imports nothing"),
        ("gateway/pipeline/new.py", "import msgpack", "msgpack is used"),
        ("gateway/app.py", "import paho.mqtt.client", "paho is used"),
        ("gateway/core/new.py", "from tenacity import retry", "tenacity is used"),
        ("gateway/app.py", "from gateway.core.engine import Engine", "core: others import from gateway.core"),
        ("gateway/app.py", "import gateway.mqtt.connection", "mqtt: others import from gateway.mqtt"),
    ],
)
def test_an_import_against_a_contract_is_found(copied: Path, path: str, line: str, contract: str) -> None:
    file = copied / path
    before = file.read_bytes() if file.exists() else None
    with file.open("a") as text:
        text.write(f"\n{line}\n")
    try:
        assert any(contract in name for name in broken_contracts(copied))
    finally:
        file.unlink() if before is None else file.write_bytes(before)


def test_no_two_classes_or_type_aliases_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        for node in source.parse(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if isinstance(target, ast.Name) and re.fullmatch("[A-Z][A-Za-z]*[a-z][A-Za-z]*", target.id):
                    places[target.id].append(str(path))
    assert len(places) > 200
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
