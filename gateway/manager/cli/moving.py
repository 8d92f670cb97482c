"""The commands that take a whole site elsewhere: `app`, which the manager's commands mount. Decides nothing."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.manager.cli import options
from gateway.manager.cli.options import DatabaseOption, DataOption
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.store.archive import Backup

app = typer.Typer()


@app.command()
def migrate(
    sqlite: Annotated[
        Path, typer.Argument(metavar="SQLITE", help="The data directory with the SQLite file.", show_default=False)
    ],
    postgresql: Annotated[
        str, typer.Argument(metavar="POSTGRESQL", help="postgresql://USER@HOST/NAME, empty.", show_default=False)
    ],
) -> None:
    """Copy a site, its SQLite file and model files, into an empty PostgreSQL database, while no `serve` runs."""
    from rich.progress import Progress

    from gateway.manager.store.moving import migrate_site

    console = Console(stderr=True)
    with options.exit_on_error(), Progress(console=console, disable=not console.is_terminal) as progress:
        bars = {}

        def begin(table: str, rows: int) -> None:
            bars[table] = progress.add_task(table, total=rows)

        moved = migrate_site(sqlite, postgresql, begin, lambda table, rows: progress.advance(bars[table], rows))
    rows, files = moved
    for table, count in sorted(rows.items()):
        typer.echo(f"{table}: {count:,} rows in both")
    typer.echo(f"model files: {files:,} are in the database; serve with that --database, and any --data")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A name in .tar, or .tar.gz.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Write the database and the model files into one file, as they are at one moment, while `serve` runs."""
    from gateway.manager.store.moving import write_backup

    with options.exit_on_error():
        made = write_backup(Place(data, database), file, force=force)
    typer.echo(f"{file}: {_content(made)}, {file.stat().st_size:,} bytes")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.", show_default=False)],
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Put a backup into an empty data directory, or an empty database and that directory."""
    from gateway.manager.store.moving import restore_backup

    with options.exit_on_error():
        made = restore_backup(file, Place(data, database))
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(made.created))
    typer.echo(f"{data}: {_content(made)}, as of {at}")


def _content(made: "Backup") -> str:
    return f"{made.devices:,} devices, {made.models:,} model files"
