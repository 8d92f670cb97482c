"""The commands about access keys: `app`, which the manager's commands mount. Decides nothing."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from gateway.manager.cli import options, output, tables
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, make_database, open_client, restrict_database, takes_site
from gateway.manager.errors import ManagerError

if TYPE_CHECKING:
    from gateway.manager.client import ManagerClient

app = typer.Typer(help="Access keys of the API and of the model store.", no_args_is_help=True)


@app.command("add")
@takes_site
@takes_form
def add_key(
    role: Annotated[str, typer.Option(help="What it may do: gateway, viewer, operator or admin.", show_default=False)],
    description: Annotated[str, typer.Option(help="For people: who has it.")] = "",
    credentials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it to a new file of AWS credentials; one that exists stays."),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the database where there is none.")] = False,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Make an access key; its secret is shown this once."""
    with options.exit_on_error():
        if create:
            make_database(site)
    with open_client(site) as client, options.exit_on_error():
        if credentials is not None and credentials.exists():
            _require_valid(client, credentials)
            typer.echo(f"{credentials} exists, and its key is valid: no other one is made")
            return
        restrict_database(site)
        with contextlib.nullcontext() if credentials is None else _new_file(credentials) as out:
            made = client.call("CreateAccessKey", Role=role, Description=description)
            if out is not None:
                out.write(f"[default]\naws_access_key_id = {made['AccessKeyId']}\n")
                out.write(f"aws_secret_access_key = {made['SecretAccessKey']}\n")
    if credentials is not None:
        typer.echo(f"{made['AccessKeyId']}: {role}, written to {credentials}")
    elif form is not Form.TABLE:
        output.write(form, [made], tables.made_keys_table)
    else:
        typer.echo(f"AWS_ACCESS_KEY_ID={made['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={made['SecretAccessKey']}")


@app.command("list")
@takes_site
@takes_form
def list_keys(*, form: Form, site: ManagerSite) -> None:
    """List the access keys, also those that were revoked, without their secrets."""
    with open_client(site, read_only=True) as client:
        with options.exit_on_error():
            found = _list(client)
        output.write(form, found, tables.keys_table)


@app.command("revoke")
@takes_site
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `list` shows it.", show_default=False)],
    *,
    site: ManagerSite,
) -> None:
    """Revoke an access key: within seconds no `serve` accepts it any more."""
    with open_client(site) as client, options.exit_on_error():
        client.call("RevokeAccessKey", AccessKeyId=key)
        typer.echo(f"{key} revoked")


def _list(client: "ManagerClient") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.call("ListAccessKeys")["access_keys"]
    return found


def _require_valid(client: "ManagerClient", credentials: Path) -> None:
    valid = {each["AccessKeyId"] for each in _list(client) if "RevocationTime" not in each}
    found = re.search(r"^aws_access_key_id = (\S+)$", credentials.read_text(), re.MULTILINE)
    if found is None or found[1] not in valid:
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
