"""Prints the results: for people by rich, for programs as JSON. Decides nothing."""

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.doctor.result import CheckResult, Level

STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def as_json(results: Sequence[CheckResult]) -> str:
    """One object: the number of each level, and each result."""
    checks = [{"check": r.check, "level": r.level, "found": r.found, "todo": r.todo or None} for r in results]
    return json.dumps({**_count_levels(results), "checks": checks}, indent=2)


def print_report(results: Sequence[CheckResult], console: Console) -> None:
    """A line for each result, and below it what to do."""
    table = Table.grid(padding=(0, 2))
    for result in results:
        text = Text(result.found)
        if result.todo:
            text.append(f"\n→ {result.todo}", "bold")
        table.add_row(Text(result.level.upper(), STYLES[result.level]), result.check, text)
    console.print(table)
    console.print(", ".join(f"{count} {level}" for level, count in _count_levels(results).items()))


def _count_levels(results: Sequence[CheckResult]) -> dict[Level, int]:
    counts = Counter(result.level for result in results)
    return {level: counts[level] for level in Level}
