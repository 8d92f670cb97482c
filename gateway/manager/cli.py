"""The `edge-gateway manager` commands: `app`, which the main command mounts.

`serve` is the service, and makes its data directory; the others work there, whether it runs or not, and make none. An
error is one line on stderr and exit status 2. Nothing is decided here.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.manager import deploying, tables
from gateway.manager.config import DEFAULT_DATA, Config, objects_directory
from gateway.manager.objects import Objects
from gateway.manager.refusals import ManagerError
from gateway.manager.reports import deployment_report, status
from gateway.manager.serving import read_keys, serve_until_told
from gateway.manager.store import Store, open_store

app = typer.Typer(
    name="manager", help="The embedded Edge Manager: a sagemaker-edge API and a model store.", no_args_is_help=True
)

Data = Annotated[Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")]
Fleet = Annotated[str, typer.Argument(help="A DeviceFleetName.", show_default=False)]
Devices = Annotated[list[str], typer.Argument(help="DeviceNames.", show_default=False)]
Everyone = Annotated[bool, typer.Option("--all", help="Every registered device of the fleet.")]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs, times in Unix seconds.")]
Name = Annotated[str | None, typer.Option(help="Name of the deployment; else the handle and a number.")]
OneFleet = Annotated[str | None, typer.Argument(help="Only this fleet.", show_default=False)]


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Turns what an operator can mend into one line on stderr and exit status 2."""
    try:
        yield
    except (ManagerError, OSError, sqlite3.Error) as error:
        typer.echo(f"edge-gateway manager: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


@contextlib.contextmanager
def _store(data: Path, fleet: str | None = None) -> Iterator[Store]:
    """What `serve` made; a `fleet` that is named must have a device."""
    with _telling(), contextlib.closing(open_store(data, create=False)) as store:
        deploying.check_fleet(store, fleet)
        yield store


def _show(table: Table) -> None:
    """A pipe or file has no width: there a line is as long as it needs to be."""
    terminal = Console().is_terminal
    Console(width=None if terminal else 400).print(table)


@app.command()
def serve(
    data: Data = DEFAULT_DATA,
    host: Annotated[str, typer.Option(envvar="EDGE_MANAGER_HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EDGE_MANAGER_PORT", help="0 takes a free one and prints it.")] = 9470,
    access_key: Annotated[
        str | None, typer.Option(envvar="EDGE_MANAGER_ACCESS_KEY", help="With a secret: signatures are checked.")
    ] = None,
    secret_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="EDGE_MANAGER_SECRET_KEY_FILE", help="Holds the secret key; or give EDGE_MANAGER_SECRET_KEY."
        ),
    ] = None,
    registered_ttl: Annotated[int, typer.Option(help="CacheTTL for a registered device, in seconds.")] = 300,
    unregistered_ttl: Annotated[int, typer.Option(help="CacheTTL for one that is not, in seconds.")] = 60,
    power_safe: Annotated[bool, typer.Option(help="One fsync a call: a power cut loses nothing either.")] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT; the first line on stdout gives its URL once it listens."""
    with _telling():
        config = Config(
            data=data,
            host=host,
            port=port,
            keys=read_keys(access_key, secret_key_file),
            registered_ttl=registered_ttl,
            unregistered_ttl=unregistered_ttl,
            power_safe=power_safe,
        )
        serve_until_told(config)


@app.command()
def register(fleet: Fleet, devices: Devices, data: Data = DEFAULT_DATA) -> None:
    """Register devices in a fleet; doing so again changes nothing."""
    with _store(data) as store:
        deploying.check_names("DeviceFleetName", [fleet])
        deploying.check_names("DeviceName", devices)
        for device in devices:
            new = store.register(fleet, device, time.time())
            typer.echo(f"{fleet}/{device} {'registered' if new else 'was registered already'}")


@app.command()
def deregister(fleet: Fleet, devices: Devices, data: Data = DEFAULT_DATA) -> None:
    """Deregister devices, and forget their state, deployments and results."""
    with _store(data) as store:
        for device in devices:
            deploying.registered(store, fleet, device)
        for device in devices:
            store.deregister(fleet, device)
            typer.echo(f"{fleet}/{device} deregistered")


@app.command("devices")
def list_devices(fleet: OneFleet = None, as_json: Json = False, data: Data = DEFAULT_DATA) -> None:
    """List the registered devices."""
    with _store(data, fleet) as store:
        rows = store.devices(fleet)
    if as_json:
        typer.echo(json.dumps([{"fleet": fleet, "device": device, "registered": at} for fleet, device, at in rows]))
    else:
        _show(tables.devices_table(rows))


@app.command()
def deploy(
    fleet: Fleet,
    what: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE=FILE...", show_default=False)],
    everyone: Everyone = False,
    name: Name = None,
    policy: Annotated[str, typer.Option(help=" or ".join(deploying.POLICIES))] = "ROLLBACK_ON_FAILURE",
    bucket: Annotated[str, typer.Option(help="The bucket of the model store.")] = "models",
    data: Data = DEFAULT_DATA,
) -> None:
    """Deploy model files; a newer deployment of a handle supersedes the older one."""
    with _store(data) as store:
        names, files = deploying.read_pairs(what)
        chosen = deploying.choose_devices(store, fleet, names, everyone)
        objects, numbers = Objects(objects_directory(data)), list(chosen.values())
        plan = deploying.deploy(
            store, objects, numbers, files, bucket=bucket, name=name, policy=policy, now=time.time()
        )
        _show(tables.deployments_table((f"{fleet}/{device}", plan) for device in chosen))


@app.command()
def undeploy(
    fleet: Fleet,
    what: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE", show_default=False)],
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the fleet that has it.")] = False,
    name: Name = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Take a model off devices: a deployment whose definition has the state UNDEPLOY."""
    with _store(data) as store:
        *devices, handle = what
        chosen = deploying.choose_devices(store, fleet, devices, everyone)
        if everyone:
            chosen = deploying.having(store, chosen, handle)
        plan = deploying.undeploy(store, chosen, handle, name=name, now=time.time())
        _show(tables.deployments_table((f"{fleet}/{device}", plan) for device in chosen))


@app.command()
def deployments(fleet: OneFleet = None, as_json: Json = False, data: Data = DEFAULT_DATA) -> None:
    """List the deployments in force, device by device: what GetDeployments answers."""
    with _store(data, fleet) as store:
        rows = [
            (f"{name}/{device}", plan)
            for name, device, _ in store.devices(fleet)
            for plan in store.deployments(deploying.registered(store, name, device))
        ]
    if as_json:
        typer.echo(json.dumps([{"device": whose} | deployment_report(plan) for whose, plan in rows]))
    else:
        _show(tables.deployments_table(rows))


@app.command("status")
def show_status(fleet: OneFleet = None, as_json: Json = False, data: Data = DEFAULT_DATA) -> None:
    """Show each device's newest metrics, models, deployments and results."""
    with _store(data, fleet) as store:
        reports = status(store, fleet)
    if as_json:
        typer.echo(json.dumps(reports))
    else:
        _show(tables.status_table(reports))
