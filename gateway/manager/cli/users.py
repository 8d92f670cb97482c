"""The commands about users of the console: `app`, which the manager's commands mount. Decides nothing.

A password is never an argument, which everybody sees who lists the processes.
"""

import sys
from typing import Annotated

import typer

from gateway.manager.cli import options, output, tables
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, make_database, open_client, restrict_database, takes_site
from gateway.manager.errors import ManagerError

app = typer.Typer(help="Users of the console.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]


@app.command("add")
@takes_site
def add_user(
    name: NameArgument,
    role: Annotated[str, typer.Option(help="What the user may do: viewer, operator or admin.", show_default=False)],
    create: Annotated[bool, typer.Option("--create", help="Make the database where there is none.")] = False,
    *,
    site: ManagerSite,
) -> None:
    """Make a user; the password comes from a prompt, or is the first line of stdin."""
    with options.exit_on_error():
        if create:
            make_database(site)
    with open_client(site) as client, options.exit_on_error():
        password = _read_password()
        restrict_database(site)
        client.call("CreateUser", UserName=name, Role=role, Password=password)
    typer.echo(f"{name}: {role}")


@app.command("list")
@takes_site
@takes_form
def list_users(*, form: Form, site: ManagerSite) -> None:
    """List the users, also those who were removed."""
    with open_client(site, read_only=True) as client:
        with options.exit_on_error():
            found = client.call("ListUsers")["users"]
        output.write(form, found, tables.users_table)


@app.command("remove")
@takes_site
def remove_user(name: NameArgument, *, site: ManagerSite) -> None:
    """Remove a user, whose sessions end at once."""
    with open_client(site) as client, options.exit_on_error():
        client.call("DeleteUser", UserName=name)
    typer.echo(f"{name} removed")


@app.command("password")
@takes_site
def change_password(name: NameArgument, *, site: ManagerSite) -> None:
    """Change a user's password, from a prompt or the first line of stdin; the user's sessions end at once."""
    with open_client(site) as client, options.exit_on_error():
        client.call("ChangePassword", UserName=name, Password=_read_password())
    typer.echo(f"{name}: password changed, sessions ended")


def _read_password() -> str:
    """Raises ManagerError where there is none."""
    if sys.stdin.isatty():
        prompted: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return prompted
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ManagerError("no password: type it at the prompt, or write it as the first line of stdin")
    return password
