"""The command that shows who changed what: `app`, which the manager's commands mount. Decides nothing."""

import time
from typing import Annotated

import typer

from gateway.manager.cli import options, tables
from gateway.manager.cli.history import parse_time
from gateway.manager.cli.options import DatabaseOption, DataOption, JsonOption
from gateway.manager.place import DEFAULT_DATA, Place

app = typer.Typer()


@app.command("audit")
def show_audit(
    resource: Annotated[
        str | None, typer.Option(metavar="RESOURCE", help="Only of that one: device-fleet/F, access-key/ID, ...")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Since so long ago, as 90m or 7d; or 2026-11-30T10:00.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest rows, at most so many.")] = 100,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Show who changed what: by which key, from where, when, and how the resource was before and after."""
    from gateway.manager.reports import audit_rows

    with options.read_data(Place(data, database)) as store:
        with options.exit_on_error():
            begin = None if since is None else parse_time(since, "--since", time.time()) / 1e6
            rows = store.read(lambda transaction: audit_rows(transaction, resource, begin, limit))
        options.write_json(rows) if as_json else options.show(tables.audit_table(rows))
