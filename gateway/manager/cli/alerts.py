"""The commands about alerts: `app`, which the manager's commands mount. Decides nothing."""

import time
from typing import Annotated

import typer

from gateway.manager.cli import options, output, tables
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, open_client, takes_site
from gateway.manager.rollouts.rules_text import parse_duration

app = typer.Typer(help="What is wrong now, and who is told.", no_args_is_help=True)

PREFIX = "EdgeManager"
"""Of each name; who types one may leave it out, as `list` does on a terminal."""

AlertArgument = Annotated[
    str, typer.Argument(metavar="ALERT", help="Its name, as `list` shows it.", show_default=False)
]
SubjectArgument = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="Its fleet, or FLEET/DEPLOYMENT.", show_default=False)
]


@app.command("list")
@takes_site
@takes_form
def list_alerts(*, form: Form, site: ManagerSite) -> None:
    """List alerts: those that fire, those that are about to, and those that ended in the last 7 days."""
    with open_client(site, read_only=True) as client:
        found = options.guarded(client.items("ListAlerts", "alerts"))
        output.write(form, found, tables.alerts_table)


@app.command("mute")
@takes_site
def mute_alert(
    name: AlertArgument,
    subject: SubjectArgument = "",
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="So long: 90m, 8h, 7d.")] = "8h",
    *,
    site: ManagerSite,
) -> None:
    """Tell nobody of an alert for some time."""
    with open_client(site) as client, options.exit_on_error():
        until = time.time() + parse_duration(lasting, "--for")
        client.call("MuteAlert", AlertName=_whole(name), Subject=subject, Until=until)
    typer.echo(f"{' '.join(filter(None, (name, subject)))} muted until {tables.time_text(until)}")


@app.command("unmute")
@takes_site
def unmute_alert(name: AlertArgument, subject: SubjectArgument = "", *, site: ManagerSite) -> None:
    """Tell of an alert again."""
    with open_client(site) as client, options.exit_on_error():
        client.call("UnmuteAlert", AlertName=_whole(name), Subject=subject)
    typer.echo(f"{' '.join(filter(None, (name, subject)))} is not muted")


def _whole(name: str) -> str:
    return name if name.startswith(PREFIX) else f"{PREFIX}{name}"
