"""The table of faults names each scenario of this folder, and nothing else."""

import ast
import re
from pathlib import Path

from tests.support import pages, source

HERE = Path(__file__).parent
NO_SCENARIOS = {"test_ledger.py", "test_page.py", "test_harness.py"}


def scenarios() -> list[str]:
    """The names of the tests in this folder that are scenarios."""
    files = [file for file in HERE.glob("test_*.py") if file.name not in NO_SCENARIOS]
    nodes = (node for file in files for node in source.parse(file).body)
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def test_the_table_names_every_scenario_once() -> None:
    named = [re.findall(r"`(test_\w+)`", row[-1]) for row in pages.table_below("Faults")]
    assert sorted(name for names in named for name in names) == sorted(scenarios())
