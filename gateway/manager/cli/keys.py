"""The commands about access keys: `app`, which the manager's commands mount. Decides nothing."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from gateway.manager.cli import options, tables
from gateway.manager.cli.options import DatabaseOption, DataOption, JsonOption
from gateway.manager.errors import ManagerError
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.control.calls import ControlCall, Members
    from gateway.manager.store import Store, Transaction

app = typer.Typer(help="Access keys of the API and of the model store.", no_args_is_help=True)


@app.command("add")
def add_key(
    role: Annotated[str, typer.Option(help="What it may do: gateway, viewer, operator or admin.", show_default=False)],
    description: Annotated[str, typer.Option(help="For people: who has it.")] = "",
    credentials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it to a new file of AWS credentials; one that exists stays."),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the database where there is none.")] = False,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Make an access key; its secret is shown this once."""
    from gateway.manager.control import keys
    from gateway.manager.store import restrict_files

    place = Place(data, database)
    with options.exit_on_error(), options.open_or_make(place, create) as store, options.explained():
        if credentials is not None and credentials.exists():
            _require_valid(store, credentials)
            typer.echo(f"{credentials} exists, and its key is valid: no other one is made")
            return
        restrict_files(place)
        asked = {"Role": role, "Description": description}

        def work(transaction: "Transaction") -> "Members":
            return keys.create(_call(transaction, "CreateAccessKey"), asked)

        if credentials is None:
            made = store.write(work)
        else:
            with _new_file(credentials) as out:
                made = store.write(work)
                out.write(f"[default]\naws_access_key_id = {made['AccessKeyId']}\n")
                out.write(f"aws_secret_access_key = {made['SecretAccessKey']}\n")
    if credentials is not None:
        typer.echo(f"{made['AccessKeyId']}: {role}, written to {credentials}")
    elif as_json:
        options.write_json([made])
    else:
        typer.echo(f"AWS_ACCESS_KEY_ID={made['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={made['SecretAccessKey']}")


@app.command("list")
def list_keys(as_json: JsonOption = False, data: DataOption = DEFAULT_DATA, database: DatabaseOption = None) -> None:
    """List the access keys, also those that were revoked, without their secrets."""
    from gateway.manager.control import keys

    with options.read_data(Place(data, database)) as store:
        with options.exit_on_error():
            found = store.read(lambda transaction: keys.list_all(_call(transaction, "ListAccessKeys"), {}))
        options.write_json(found["AccessKeys"]) if as_json else options.show(tables.keys_table(found["AccessKeys"]))


@app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `list` shows it.", show_default=False)],
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Revoke an access key: within seconds no `serve` accepts it any more."""
    from gateway.manager.control import keys

    with options.open_data(Place(data, database)) as store, options.explained():
        store.write(lambda transaction: keys.revoke(_call(transaction, "RevokeAccessKey"), {"AccessKeyId": key}))
        typer.echo(f"{key} revoked")


def _call(transaction: "Transaction", operation: str) -> "ControlCall":
    return options.local_call(transaction, f"edge-manager:{operation}", time.time())


def _require_valid(store: "Store", credentials: Path) -> None:
    from gateway.manager.control import KeyRing

    ring = KeyRing(store)
    ring.read()
    found = re.search(r"^aws_access_key_id = (\S+)$", credentials.read_text(), re.MULTILINE)
    if found is None or ring.find(found[1]) is None:
        raise ManagerError(f"{credentials} exists, and has no valid key of this database: move it away, and repeat")


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Of that name once all of it is on the disk, for the account that runs this alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w") as out:
            yield out
            out.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
