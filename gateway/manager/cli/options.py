"""What the `edge-gateway manager` commands share: options, how the values of a rollout are read, data, output.

Shares are typed as 5%, times as 90s, 10m, 2h, 1d. Every mistake is a ManagerError that says what is right.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.errors import explain
from gateway.manager.errors import ManagerError
from gateway.manager.rollouts import RolloutRules, Stage
from gateway.manager.rollouts.actions import require_fleet
from gateway.manager.store import Database, open_database

DataOption = Annotated[Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")]
FleetArgument = Annotated[str, typer.Argument(metavar="FLEET", help="A DeviceFleetName.", show_default=False)]
DevicesArgument = Annotated[list[str], typer.Argument(metavar="DEVICE...", help="DeviceNames.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs, times in Unix seconds.")]
FleetFilter = Annotated[str | None, typer.Argument(metavar="FLEET", help="Only this fleet.", show_default=False)]

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%?")
_DURATION = re.compile(r"(\d{1,6})([smhd])|0")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STOP_AT = Fraction(1, 10)
"""The default of `--stop-at` for a rollout of several stages."""


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Turns an error that an operator can correct into one line on stderr and exit status 2."""
    try:
        yield
    except (ManagerError, OSError, sqlite3.Error) as error:
        text = " ".join(str(error).split()) if isinstance(error, ManagerError) else explain(error)
        typer.echo(f"edge-gateway manager: {text}", err=True)
        raise typer.Exit(2) from error


@contextlib.contextmanager
def open_data(data: Path) -> Iterator[Database]:
    """The database that `serve` made. Errors as in `exit_on_error`."""
    with exit_on_error(), contextlib.closing(open_database(data, create=False)) as database:
        yield database


@contextlib.contextmanager
def read_data(data: Path, fleet: str | None) -> Iterator[Database]:
    """As `open_data`, to read alone; a `fleet` that is named must have a device."""
    with exit_on_error(), contextlib.closing(open_database(data, create=False, read_only=True)) as database:
        if fleet is not None:
            require_fleet(database, fleet)
        yield database


def show(table: Table) -> None:
    """A pipe or file has no width: there a line is as long as it needs to be."""
    Console(width=None if Console().is_terminal else 400).print(table)


def parse_share(text: str, option: str) -> Fraction:
    """5% and 5 are a twentieth."""
    match = _SHARE.fullmatch(text.strip())
    share = Fraction(match[1]) / 100 if match else Fraction(2)
    if share > 1:
        raise ManagerError(f"{option} '{text}' is not a share: 0% to 100%")
    return share


def parse_nonzero_share(text: str, option: str) -> Fraction:
    share = parse_share(text, option)
    if not share:
        raise ManagerError(f"{option} '{text}': of the devices these are none; should be more than 0%")
    return share


def parse_duration(text: str, option: str) -> float:
    """Seconds. Only 0 needs no unit: nobody can know whether 5 is seconds or minutes."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ManagerError(f"{option} '{text}' is not a time with its unit: 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]] if match[2] else 0.0


def parse_rollout_options(stages: str, min_success: str, wait: str, stop_at: str | None, stop_min: int) -> RolloutRules:
    """`stages`: shares with commas; `min_success`, `wait`: one for each stage but the last, or one for all of them."""
    shares = [parse_nonzero_share(each, "--stages") for each in stages.split(",")]
    successes = [parse_share(each, "--min-success") for each in _split(min_success, len(shares) - 1, "--min-success")]
    waits = [parse_duration(each, "--wait") for each in _split(wait, len(shares) - 1, "--wait")]
    parsed = [*map(Stage, shares[:-1], successes, waits), Stage(shares[-1])]
    limit = parse_share(stop_at, "--stop-at") if stop_at is not None else STOP_AT if len(shares) > 1 else None
    if stop_min < 1:
        raise ManagerError(f"--stop-min is {stop_min}: 1 or more results")
    try:
        return RolloutRules(tuple(parsed), limit, stop_min)
    except ValueError as error:
        raise ManagerError(f"--stages {stages}: {error}, as 1%,10%,100%") from error


def _split(text: str, count: int, option: str) -> list[str]:
    """`count` values: as they are given, or the one that is given for all."""
    values = text.split(",")
    if len(values) not in (1, count):
        more = f", or {count}, one for each stage but the last" if count > 1 else ""
        raise ManagerError(f"{option} has {len(values)} values: should be one{more}")
    return values if len(values) == count else values * count
