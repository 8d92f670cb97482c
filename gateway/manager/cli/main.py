"""The `edge-gateway manager` commands: `app`, which the main command mounts. Decides nothing.

`serve` is the service, and makes its data directory; the others use it, whether `serve` runs or not, and make none. An
error is one line on stderr and exit status 2.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.kubernetes import drop_service_links
from gateway.manager.cli import options, rollouts, tables
from gateway.manager.cli.options import DataOption, DevicesArgument, FleetArgument, FleetFilter, JsonOption
from gateway.manager.reports import device_reports
from gateway.manager.rollouts.actions import check_names, require_device
from gateway.manager.store import DEFAULT_DATA, Place

HELP = "The embedded Edge Manager: a sagemaker-edge API and a model store."
app = typer.Typer(name="manager", help=HELP, no_args_is_help=True)


@app.callback()
def main_callback() -> None:
    drop_service_links("EDGE_MANAGER_")


@app.command()
def serve(
    data: DataOption = DEFAULT_DATA,
    host: Annotated[str, typer.Option(envvar="EDGE_MANAGER_HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EDGE_MANAGER_PORT", help="0 takes a free one and prints it.")] = 9470,
    access_key: Annotated[
        str | None, typer.Option(envvar="EDGE_MANAGER_ACCESS_KEY", help="With a secret: signatures are checked.")
    ] = None,
    secret_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="EDGE_MANAGER_SECRET_KEY_FILE",
            show_envvar=False,  # at 80 columns its name would be cut
            help="Holds the secret key; or give EDGE_MANAGER_SECRET_KEY, or that name with _FILE at its end.",
        ),
    ] = None,
    registered_ttl: Annotated[int, typer.Option(help="CacheTTL for a registered device, in seconds.")] = 300,
    unregistered_ttl: Annotated[int, typer.Option(help="CacheTTL for one that is not, in seconds.")] = 60,
    max_connections: Annotated[int, typer.Option(help="Connections at once; further ones get 503.")] = 4096,
    power_safe: Annotated[bool, typer.Option(help="One fsync a call: a power cut loses nothing either.")] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT; the first line on stdout gives its URL once it listens."""
    from gateway.manager.http import ServerConfig  # with botocore, for which other commands do not wait
    from gateway.manager.process import read_access_key, serve_until_signal

    with options.exit_on_error():
        config = ServerConfig(
            place=Place(data),
            host=host,
            port=port,
            access_key=read_access_key(access_key, secret_key_file),
            registered_ttl=registered_ttl,
            unregistered_ttl=unregistered_ttl,
            max_connections=max_connections,
        )
        serve_until_signal(config)


@app.command()
def register(fleet: FleetArgument, devices: DevicesArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Register devices in a fleet; to register one twice changes nothing."""
    with options.open_data(data) as database:
        check_names("FLEET", "DeviceFleetName", [fleet])
        check_names("DEVICE", "DeviceName", devices)
        for device in devices:
            new = database.register(fleet, device, time.time())
            typer.echo(f"{fleet}/{device} {'registered' if new else 'was registered already'}")


@app.command()
def deregister(fleet: FleetArgument, devices: DevicesArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Deregister devices, and delete their state, deployments and results."""
    with options.open_data(data) as database:
        for device in devices:
            require_device(database, fleet, device)
        for device in devices:
            database.deregister(fleet, device)
            typer.echo(f"{fleet}/{device} deregistered")


@app.command("devices")
def list_devices(fleet: FleetFilter = None, as_json: JsonOption = False, data: DataOption = DEFAULT_DATA) -> None:
    """List the registered devices."""
    with options.read_data(data, fleet) as database:
        rows = database.devices(fleet)
    if as_json:
        typer.echo(json.dumps([{"fleet": fleet, "device": device, "registered": at} for fleet, device, at in rows]))
    else:
        options.show(tables.devices_table(rows))


app.add_typer(rollouts.app)


@app.command("status")
def show_status(fleet: FleetFilter = None, as_json: JsonOption = False, data: DataOption = DEFAULT_DATA) -> None:
    """Show each device's newest metrics, models, deployments and results."""
    with options.read_data(data, fleet) as database:
        reports = device_reports(database, time.time(), fleet)
    if as_json:
        typer.echo(json.dumps(reports))
    else:
        options.show(tables.status_table(reports))
