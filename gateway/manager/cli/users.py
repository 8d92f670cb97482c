"""The commands about users of the console: `app`, which the manager's commands mount. Decides nothing.

A password is never an argument, which everybody sees who lists the processes.
"""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.manager.cli import options, tables
from gateway.manager.cli.options import DatabaseOption, DataOption, JsonOption
from gateway.manager.errors import ManagerError
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.control import ControlCall
    from gateway.manager.store import Transaction

app = typer.Typer(help="Users of the console.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]


@app.command("add")
def add_user(
    name: NameArgument,
    role: Annotated[str, typer.Option(help="What the user may do: viewer, operator or admin.", show_default=False)],
    create: Annotated[bool, typer.Option("--create", help="Make the database where there is none.")] = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Make a user; the password comes from a prompt, or is the first line of stdin."""
    from gateway.manager.control import users
    from gateway.manager.control.passwords import hash_password
    from gateway.manager.store import restrict_files

    place = Place(data, database)
    with options.exit_on_error(), options.open_or_make(place, create) as store, options.explained():
        users.check(name, role)
        hashed = hash_password(_read_password())
        restrict_files(place)
        store.write(lambda transaction: users.add(_call(transaction, "CreateUser"), name, role, hashed))
    typer.echo(f"{name}: {role}")


@app.command("list")
def list_users(as_json: JsonOption = False, data: DataOption = DEFAULT_DATA, database: DatabaseOption = None) -> None:
    """List the users, also those who were removed."""
    from gateway.manager.control import users

    with options.read_data(Place(data, database)) as store:
        with options.exit_on_error():
            found = store.read(users.list_all)
        options.write_json(found) if as_json else options.show(tables.users_table(found))


@app.command("remove")
def remove_user(name: NameArgument, data: DataOption = DEFAULT_DATA, database: DatabaseOption = None) -> None:
    """Remove a user, whose sessions end at once."""
    from gateway.manager.control import users

    with options.open_data(Place(data, database)) as store, options.explained():
        store.write(lambda transaction: users.remove(_call(transaction, "DeleteUser"), name))
    typer.echo(f"{name} removed")


@app.command("password")
def change_password(name: NameArgument, data: DataOption = DEFAULT_DATA, database: DatabaseOption = None) -> None:
    """Change a user's password, from a prompt or the first line of stdin; the user's sessions end at once."""
    from gateway.manager.control import users
    from gateway.manager.control.passwords import hash_password

    with options.open_data(Place(data, database)) as store, options.explained():
        hashed = hash_password(_read_password())
        store.write(lambda transaction: users.change_password(_call(transaction, "ChangePassword"), name, hashed))
    typer.echo(f"{name}: password changed, sessions ended")


def _read_password() -> str:
    """Raises ManagerError where there is none, ApiError where it cannot be one."""
    from gateway.manager.control import users

    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise ManagerError("no password: type it at the prompt, or write it as the first line of stdin")
    users.check_password(password)
    return password


def _call(transaction: "Transaction", operation: str) -> "ControlCall":
    return options.local_call(transaction, f"edge-manager:{operation}", time.time())
