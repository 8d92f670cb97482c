"""The command that shows who changed what: `app`, which the manager's commands mount. Decides nothing."""

import time
from typing import Annotated

import typer

from gateway.manager.cli import options, output, tables
from gateway.manager.cli.history import parse_time
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, open_client, takes_site

app = typer.Typer()


@app.command("audit")
@takes_site
@takes_form
def show_audit(
    resource: Annotated[
        str | None, typer.Option(metavar="RESOURCE", help="Only of that one: device-fleet/F, access-key/ID, ...")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Since so long ago, as 90m or 7d; or 2026-11-30T10:00.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest rows, at most so many.")] = 100,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show who changed what: by which key, from where, when, and how the resource was before and after."""
    with open_client(site, read_only=True) as client:
        with options.exit_on_error():
            begin = None if since is None else parse_time(since, "--since", time.time())
            found = client.items("ListAudit", "rows", limit, Resource=resource, StartTime=begin)
            rows = list(found)[::-1]
        output.write(form, rows, tables.audit_table)
