"""Where tests are: no suite imports another, and the folders of the unit tests are called as the packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import source
from tests.support.paths import ROOT

TESTS = ROOT / "tests"
SUITES = {"unit", "property", "fuzz", "contract", "device", "integration", "faults", "benchmarks"}
NO_PACKAGES = {"repository", "pages", "support"}
"""Folders of unit tests of what lies outside gateway/: the repository itself, its pages, the tests' own helpers."""


def folders(of: Path) -> set[str]:
    return {path.name for path in of.iterdir() if path.is_dir() and path.name != "__pycache__"}


def imported(file: Path) -> Iterator[str]:
    """The absolute names of the modules that it imports, wherever in it."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(source.parse(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def suites_imported(folder: Path) -> dict[str, set[str]]:
    """File -> the suites of which it imports something."""
    found = {}
    for file in folder.rglob("*.py"):
        parts = [name.split(".") for name in imported(file) if name.startswith("tests.")]
        found[file.relative_to(ROOT).as_posix()] = {part[1] for part in parts} & SUITES
    return found


def test_every_folder_is_a_suite_or_shared() -> None:
    assert folders(TESTS) == SUITES | {"support", "vectors"}


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_no_suite_imports_another(suite: str) -> None:
    assert {file: names - {suite} for file, names in suites_imported(TESTS / suite).items() if names - {suite}} == {}


def test_what_suites_share_imports_none_of_them() -> None:
    assert {file: names for file, names in suites_imported(TESTS / "support").items() if names} == {}


def test_the_unit_tests_are_called_as_the_packages_and_modules() -> None:
    modules = {f"test_{path.stem}" for path in (ROOT / "gateway").glob("*.py")}
    assert {path.stem for path in (TESTS / "unit").glob("test_*.py")} <= modules
    assert folders(TESTS / "unit") - NO_PACKAGES <= folders(ROOT / "gateway")


def test_an_import_of_another_suite_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (folder / "test_some.py").write_text(
        "def test():\n    from tests.faults import ledger\n    from ..property import shapes\n"
    )
    assert suites_imported(folder) == {"tests/unit/test_some.py": {"faults", "property"}}
