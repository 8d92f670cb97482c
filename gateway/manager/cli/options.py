"""What the `edge-gateway manager` commands share: options, errors.

Every mistake is a ManagerError that says what is right.
"""

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import typer

from gateway.errors import explain
from gateway.manager.api import STATES
from gateway.manager.errors import ManagerError, StoreUnavailable

T = TypeVar("T")

DataOption = Annotated[Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="EDGE_MANAGER_DATABASE",
        show_envvar=False,  # at 80 columns its name would be cut
        help="postgresql://USER@HOST/NAME, or EDGE_MANAGER_DATABASE; else a file of SQLite in the data directory.",
    ),
]
FleetArgument = Annotated[str, typer.Argument(metavar="FLEET", help="A DeviceFleetName.", show_default=False)]
DevicesArgument = Annotated[list[str], typer.Argument(metavar="DEVICE...", help="DeviceNames.", show_default=False)]
FleetFilter = Annotated[str | None, typer.Argument(metavar="FLEET", help="Only this fleet.", show_default=False)]

_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([KMGT]?)B?")


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Turns an error that an operator can correct into one line on stderr and exit status 2.

    1 where a database is away, which may come back: systemd starts the service again then.
    """
    try:
        yield
    except (ManagerError, OSError) as error:
        text = " ".join(str(error).split()) if isinstance(error, ManagerError) else explain(error)
        typer.echo(f"edge-gateway manager: {text}", err=True)
        raise typer.Exit(1 if isinstance(error, StoreUnavailable) else 2) from error


def guarded(items: Iterable[T]) -> Iterator[T]:
    """The items; errors in reading them as in `exit_on_error`."""
    with exit_on_error():
        yield from items


class Last(Generic[T]):
    """The items, and the last one that was taken of them; None: none was."""

    def __init__(self, items: Iterable[T]) -> None:
        self.item: T | None = None
        self._items = items

    def __iter__(self) -> Iterator[T]:
        for item in self._items:
            self.item = item
            yield item


def parse_labels(texts: Iterable[str] | None) -> list[dict[str, str]]:
    """KEY=VALUE, as the operations take labels. Raises ManagerError."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ManagerError(f"--label '{text}' is none: give KEY=VALUE")
        if key in found:
            raise ManagerError(f"the label {key} comes twice: a device has one value of it")
        found[key] = value
    return [{"Key": key, "Value": value} for key, value in found.items()]


def parse_after(text: str | None, fleet: str | None) -> str | None:
    """FLEET/DEVICE."""
    if text is None:
        return None
    before, slash, device = text.rpartition("/")
    if fleet is None and not (slash and before):
        raise ManagerError(f"--after '{text}' is in no fleet: name the FLEET, or give FLEET/DEVICE")
    if fleet is not None and slash and before != fleet:
        raise ManagerError(f"--after '{text}' is not in fleet {fleet}")
    return f"{fleet or before}/{device}"


def parse_state(text: str | None) -> str | None:
    """A word of `api.judge`; a hyphen may replace the space in it."""
    word = None if text is None else text.replace("-", " ")
    if word is not None and word not in STATES:
        raise ManagerError(f"--state '{text}' is none: should be {', '.join(STATES[:-1])} or {STATES[-1]}")
    return word


def read_names(file: Path, argument: str) -> list[tuple[str, str]]:
    """The names in a file, one a line; `-` is stdin. (where it is, name) for each; lines without one are passed over.

    Raises ManagerError where it is not text.
    """
    try:
        lines = sys.stdin.readlines() if file == Path("-") else file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ManagerError(f"{file} is not text in UTF-8: should be one name a line") from error
    names = ((f"{file}, line {number}: {argument}", line.strip()) for number, line in enumerate(lines, 1))
    return [(where, name) for where, name in names if name]


def parse_size(text: str, option: str) -> int:
    """Bytes; 1K is 1,000."""
    match = _SIZE.fullmatch(text.strip().upper())
    size = int(float(match[1]) * 1000 ** " KMGT".index(match[2] or " ")) if match else 0
    if size < 1:
        raise ManagerError(f"{option} '{text}' is not a size: 500MB, 2GB")
    return size
