"""What `edge-gateway devices list` prints. It reads nothing and decides nothing."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from gateway.provisioning.commands import Row


def report(row: Row) -> dict[str, object]:
    """For programs; `until` in Unix seconds, None for what has no end."""
    return {
        "fleet": row.device.fleet,
        "device": row.device.device,
        "credential": row.kind,
        "until": None if row.end is None else int(row.end.timestamp()),
        "registered": row.registered,
        "board_file": row.has_board_file,
    }


def show(rows: Sequence[Row]) -> None:
    """A pipe or file has no width: there a line is as long as it needs to be."""
    table = Table("Fleet", "Device", "Credential", "Until", "Registered", "Board file")
    for row in rows:
        end = "" if row.end is None else f"{row.end:%Y-%m-%d}"
        table.add_row(
            row.device.fleet,
            row.device.device,
            row.kind or "none",
            end,
            "not asked" if row.registered is None else _yes(row.registered),
            _yes(row.has_board_file),
        )
    Console(width=None if Console().is_terminal else 400).print(table)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
