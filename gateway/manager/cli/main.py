"""The `edge-gateway manager` commands: `app`, which the main command mounts.

`serve` is the service, and makes its data directory; the others work there, whether it runs or not, and make none. An
error is one line on stderr and exit status 2. Nothing is decided here.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.manager.cli import rollouts, tables
from gateway.manager.cli.options import Data, Devices, Fleet, Json, OneFleet, opened, show, telling
from gateway.manager.cli.reports import status
from gateway.manager.config import DEFAULT_DATA, Config
from gateway.manager.rollouts import service

app = typer.Typer(
    name="manager", help="The embedded Edge Manager: a sagemaker-edge API and a model store.", no_args_is_help=True
)


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
    from gateway.manager.process import read_keys, serve_until_told  # its HTTP takes 10 MB, of the gateway's too

    with telling():
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
    with opened(data) as store:
        service.check_names("DeviceFleetName", [fleet])
        service.check_names("DeviceName", devices)
        for device in devices:
            new = store.register(fleet, device, time.time())
            typer.echo(f"{fleet}/{device} {'registered' if new else 'was registered already'}")


@app.command()
def deregister(fleet: Fleet, devices: Devices, data: Data = DEFAULT_DATA) -> None:
    """Deregister devices, and forget their state, deployments and results."""
    with opened(data) as store:
        for device in devices:
            service.registered(store, fleet, device)
        for device in devices:
            store.deregister(fleet, device)
            typer.echo(f"{fleet}/{device} deregistered")


@app.command("devices")
def list_devices(fleet: OneFleet = None, as_json: Json = False, data: Data = DEFAULT_DATA) -> None:
    """List the registered devices."""
    with opened(data, fleet) as store:
        rows = store.devices(fleet)
    if as_json:
        typer.echo(json.dumps([{"fleet": fleet, "device": device, "registered": at} for fleet, device, at in rows]))
    else:
        show(tables.devices_table(rows))


app.add_typer(rollouts.app)


@app.command("status")
def show_status(fleet: OneFleet = None, as_json: Json = False, data: Data = DEFAULT_DATA) -> None:
    """Show each device's newest metrics, models, deployments and results."""
    with opened(data, fleet) as store:
        reports = status(store, fleet)
    if as_json:
        typer.echo(json.dumps(reports))
    else:
        show(tables.status_table(reports))
