"""The README's table "what happens when" names each scenario of this folder, and nothing else."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
NO_SCENARIOS = {"test_ledger.py", "test_readme.py", "test_harness.py"}


def scenarios() -> list[str]:
    """The names of the tests in this folder that are scenarios."""
    files = [file for file in HERE.glob("test_*.py") if file.name not in NO_SCENARIOS]
    nodes = (node for file in files for node in ast.parse(file.read_text("utf-8")).body)
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def test_the_table_names_every_scenario_once() -> None:
    _, _, stop_load = README.read_text("utf-8").partition("<!-- faults -->\n")
    table, _, _ = stop_load.partition("<!-- /faults -->")
    assert sorted(re.findall(r"`(test_\w+)` \|$", table, re.MULTILINE)) == sorted(scenarios())
