"""The verdicts on paper: for people by rich, for programs as JSON. Decides nothing."""

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.doctor.verdict import Level, Verdict

STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def as_json(verdicts: Sequence[Verdict]) -> str:
    """One object: how many of each level, and each verdict."""
    checks = [{"check": v.check, "level": v.level, "found": v.found, "todo": v.todo or None} for v in verdicts]
    return json.dumps({**_counted(verdicts), "checks": checks}, indent=2)


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """A line each, and what to do below it."""
    table = Table.grid(padding=(0, 2))
    for verdict in verdicts:
        said = Text(verdict.found)
        if verdict.todo:
            said.append(f"\n→ {verdict.todo}", "bold")
        table.add_row(Text(verdict.level.upper(), STYLES[verdict.level]), verdict.check, said)
    console.print(table)
    console.print(", ".join(f"{count} {level}" for level, count in _counted(verdicts).items()))


def _counted(verdicts: Sequence[Verdict]) -> dict[Level, int]:
    counted = Counter(verdict.level for verdict in verdicts)
    return {level: counted[level] for level in Level}
