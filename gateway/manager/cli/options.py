"""What the `edge-gateway manager` commands have in common: their options, the store, how they tell and show."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.manager.errors import ManagerError
from gateway.manager.rollouts.service import check_fleet
from gateway.manager.store.database import Store, open_store

Data = Annotated[Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")]
Fleet = Annotated[str, typer.Argument(help="A DeviceFleetName.", show_default=False)]
Devices = Annotated[list[str], typer.Argument(help="DeviceNames.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs, times in Unix seconds.")]
OneFleet = Annotated[str | None, typer.Argument(help="Only this fleet.", show_default=False)]


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Turns what an operator can mend into one line on stderr and exit status 2."""
    try:
        yield
    except (ManagerError, OSError, sqlite3.Error) as error:
        typer.echo(f"edge-gateway manager: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


@contextlib.contextmanager
def opened(data: Path, fleet: str | None = None) -> Iterator[Store]:
    """What `serve` made; a `fleet` that is named must have a device. Mistakes are told."""
    with telling(), contextlib.closing(open_store(data, create=False)) as store:
        check_fleet(store, fleet)
        yield store


def show(table: Table) -> None:
    """A pipe or file has no width: there a line is as long as it needs to be."""
    terminal = Console().is_terminal
    Console(width=None if terminal else 400).print(table)
