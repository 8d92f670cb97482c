"""The `edge-gateway manager` commands: `app`, which the main command mounts. Decides nothing.

`serve` is the service, and makes its data directory; the others use it, whether `serve` runs or not, and make none, or
call a manager that runs elsewhere. An error is one line on stderr and exit status 2.
"""

import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.kubernetes import drop_service_links
from gateway.manager.cli import alerts, audit, history, keys, moving, options, output, rollouts, tables, users
from gateway.manager.cli.options import (
    DatabaseOption,
    DataOption,
    DevicesArgument,
    FleetArgument,
    FleetFilter,
)
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, open_client, takes_site
from gateway.manager.errors import ManagerError
from gateway.manager.place import DEFAULT_DATA, Place

AT_ONCE = 1000
"""Devices of one transaction: calls of devices come between two."""
SHOWN = 50
"""Devices that `status` shows on a terminal."""
FileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file of names, one a line, in place of them; -: stdin.")
]
HELP = "The embedded Edge Manager: a sagemaker-edge API and a model store."
app = typer.Typer(name="manager", help=HELP, no_args_is_help=True)


@app.callback()
def main_callback() -> None:
    drop_service_links("EDGE_MANAGER_")


@app.command()
def serve(
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
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
    max_object_size: Annotated[
        str, typer.Option(metavar="SIZE", help="The size of an object that is put by S3, with K, M or G, at most.")
    ] = "1GB",
    s3_endpoint_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="EDGE_MANAGER_S3_ENDPOINT_URL",
            show_envvar=False,  # at 80 columns its name would be cut
            help="Another S3, of which packaging jobs take model files, or EDGE_MANAGER_S3_ENDPOINT_URL.",
        ),
    ] = None,
    alert_webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="EDGE_MANAGER_ALERT_WEBHOOK",
            show_envvar=False,  # at 80 columns its name would be cut
            help="Is told of alerts, in Alertmanager's JSON; or EDGE_MANAGER_ALERT_WEBHOOK.",
        ),
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="EDGE_MANAGER_WEBHOOK_SECRET_FILE",
            show_envvar=False,
            help="The secret of its signatures; or EDGE_MANAGER_WEBHOOK_SECRET.",
        ),
    ] = None,
    history_days: Annotated[int, typer.Option(help="Days for which samples and devices' logs are kept.")] = 400,
    history_size: Annotated[
        str, typer.Option(metavar="SIZE", help="The size of all samples on the disk, with K, M or G; the oldest go.")
    ] = "2GB",
    region: Annotated[
        str, typer.Option(envvar="EDGE_MANAGER_REGION", help="The AWS region in ARNs, and of buckets.")
    ] = "us-east-1",
    account: Annotated[
        str, typer.Option(envvar="EDGE_MANAGER_ACCOUNT", help="The AWS account in ARNs, 12 digits.")
    ] = "000000000000",
    console_host: Annotated[
        str, typer.Option(envvar="EDGE_MANAGER_CONSOLE_HOST", help="The console's address; another one needs a user.")
    ] = "127.0.0.1",
    console_port: Annotated[
        int | None,
        typer.Option(
            envvar="EDGE_MANAGER_CONSOLE_PORT",
            show_default="9471; with --port 0 a free one",
            help="The console's port; 0 takes a free one.",
        ),
    ] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="No console: no pages for a browser.")] = False,
    trust_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="A proxy logs in the console's users, and names them in it.")
    ] = None,
    trust_role_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="... and their role in this one.")
    ] = None,
    trust_role: Annotated[str, typer.Option(help="Their role where it says none.")] = "viewer",
    trust_from: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Where the proxy is, or its network.", show_default="loopback"),
    ] = None,
    power_safe: Annotated[bool, typer.Option(hidden=True, help="Has no effect: a power cut loses nothing.")] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT; the first line on stdout gives its URL once it listens."""
    from gateway.manager.control import ArnScope
    from gateway.manager.http import ServerConfig  # with botocore, for which other commands do not wait
    from gateway.manager.process import read_access_key, read_webhook, serve_until_signal
    from gateway.manager.store import HistoryLimits

    with options.exit_on_error():
        max_object = options.parse_size(max_object_size, "--max-object-size")
        config = ServerConfig(
            place=Place(data, database),
            host=host,
            port=port,
            access_key=read_access_key(access_key, secret_key_file),
            registered_ttl=registered_ttl,
            unregistered_ttl=unregistered_ttl,
            max_connections=max_connections,
            max_object=max_object,
            s3_endpoint=s3_endpoint_url or None,
            webhook=read_webhook(alert_webhook, webhook_secret_file),
            history=HistoryLimits(history_days, options.parse_size(history_size, "--history-size")),
            scope=ArnScope(region, account),
        )
        console = None
        if not no_console:
            from gateway.manager.console import ConsoleConfig

            console = ConsoleConfig(
                host=console_host,
                port=0 if console_port is None and port == 0 else console_port,
                trust_header=trust_header,
                role_header=trust_role_header,
                trust_role=trust_role,
                max_object=max_object,
                **({"trust_from": trust_from} if trust_from else {}),
            )
        serve_until_signal(config, console)


@app.command()
@takes_site
@takes_form
def register(
    fleet: FleetArgument,
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE...", help="DeviceNames.", show_default=False)
    ] = None,
    file: FileOption = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label that each of them gets; several: all.")
    ] = None,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Register devices in a fleet; to register one twice changes nothing but its labels."""
    with open_client(site) as client, options.exit_on_error():
        named = _read_devices(fleet, devices or [], file)
        given = {"DeviceFleetName": fleet, "Labels": options.parse_labels(label) or None}
        names = list(dict.fromkeys(named))
        new: set[str] = set()
        for part in _parts(names):
            found = client.call("AddDevices", DeviceNames=part, **given)["new_device_names"]
            new.update(found)
            if file is None and form is Form.TABLE:
                for device in part:
                    typer.echo(f"{fleet}/{device} {'registered' if device in new else 'was registered already'}")
    if form is not Form.TABLE:
        rows = ({"fleet": fleet, "device": device, "new": device in new} for device in names)
        output.write(form, rows, tables.registered_table)
    elif file is not None:
        typer.echo(f"{fleet}: {len(new):,} registered, {len(named) - len(new):,} were registered already")


def _read_devices(fleet: str, devices: Sequence[str], file: Path | None) -> list[str]:
    """Names of devices, as arguments or in a file. Raises ManagerError where one is not allowed."""
    from gateway.manager.rollouts.actions import check_each

    if (file is None) == (not devices):
        raise ManagerError("name the devices, or give --file; not both")
    named = [("DEVICE", device) for device in devices] if file is None else options.read_names(file, "DEVICE")
    check_each("DeviceFleetName", [("FLEET", fleet)])
    check_each("DeviceName", named)
    return [name for _, name in named]


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))


@app.command("label")
@takes_site
def change_labels(
    fleet: FleetArgument,
    targets: Annotated[list[str], typer.Argument(metavar="[DEVICE]... KEY=VALUE... KEY-...", show_default=False)],
    file: FileOption = None,
    *,
    site: ManagerSite,
) -> None:
    """Give devices labels (KEY=VALUE), or take some away (KEY-)."""
    given = [each for each in targets if "=" in each]
    keys = [each[:-1] for each in targets if "=" not in each and each.endswith("-")]
    devices = [each for each in targets if "=" not in each and not each.endswith("-")]
    with open_client(site) as client, options.exit_on_error():
        if not given and not keys:
            raise ManagerError("no label: give KEY=VALUE, or KEY- to take it away")
        changes = {"Labels": options.parse_labels(given) or None, "LabelKeys": keys or None}
        names = list(dict.fromkeys(_read_devices(fleet, devices, file)))
        for part in _parts(names):
            client.call("LabelDevices", DeviceFleetName=fleet, DeviceNames=part, **changes)
    typer.echo(f"{fleet}: {len(names):,} {'device' if len(names) == 1 else 'devices'} labelled")


@app.command()
@takes_site
def deregister(fleet: FleetArgument, devices: DevicesArgument, *, site: ManagerSite) -> None:
    """Deregister devices, and delete their state, history, deployments and results."""
    from gateway.manager.rollouts.actions import check_names

    with open_client(site) as client, options.exit_on_error():
        check_names("FLEET", "DeviceFleetName", [fleet])
        check_names("DEVICE", "DeviceName", devices)
        for part in _parts(devices):
            client.sagemaker("DeregisterDevices", DeviceFleetName=fleet, DeviceNames=part)
            for device in part:
                typer.echo(f"{fleet}/{device} deregistered")


@app.command("devices")
@takes_site
@takes_form
def list_devices(fleet: FleetFilter = None, *, form: Form, site: ManagerSite) -> None:
    """List the registered devices."""
    with open_client(site, read_only=True) as client:
        rows = options.guarded(client.items("ListDeviceNames", "devices", DeviceFleetName=fleet))
        output.write(form, rows, tables.devices_table)


app.add_typer(rollouts.app)
app.add_typer(history.app)
app.add_typer(moving.app)
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(alerts.app, name="alerts")
app.add_typer(audit.app)


@app.command("status")
@takes_site
@takes_form
def show_status(
    fleet: FleetFilter = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="How many devices each fleet has, by state and by version of models.")
    ] = False,
    state: Annotated[
        str | None, typer.Option(help="Only devices in that state: silent, gone, asleep, connected, 'never heard', ...")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="PART", help="Only devices with that in their name, in upper or lower case.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Only devices that run that version of a model, as they reported it last.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only devices with that label; several: with each.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"So many devices at most; else {SHOWN} on a terminal, and all elsewhere.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All devices, on a terminal too.")] = False,
    after: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Only those after that one; without FLEET: FLEET/DEVICE.")
    ] = None,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show how many devices there are by state, then each one's newest metrics, models, deployments and results."""
    with open_client(site, read_only=True) as client:
        with options.exit_on_error():
            start = options.parse_after(after, fleet)
            word = options.parse_state(state)
            labels = options.parse_labels(label)
            if summary and (start or word or name or version or labels or limit):
                others = "--state, --name, --version, --label, --limit and --after"
                raise ManagerError(f"--summary counts whole fleets: without {others}")
            if everybody and limit:
                raise ManagerError(f"--all shows all devices: without --limit {limit}")
        if summary:
            fleets = options.guarded(client.items("ListFleetReports", "fleets", DeviceFleetName=fleet))
            output.write(form, fleets, tables.summary_table)
            return
        is_terminal = form is Form.TABLE and output.is_terminal()
        if limit is None and is_terminal and not everybody:
            limit = SHOWN
        asked = {
            **{"DeviceFleetName": fleet, "State": word, "NameContains": name, "ModelVersion": version},
            "Labels": labels or None,
        }
        if form is Form.TABLE and start is None:
            counted = client.items("ListFleetReports", "fleets", DeviceFleetName=fleet)
            typer.echo(tables.counts_text(options.guarded(counted)))
        found = client.items("ListDeviceReports", "devices", limit, **asked, StartAfter=start)
        last = options.Last(options.guarded(found))
        now = time.time() if is_terminal else None
        output.write(form, last, lambda reports: tables.status_table(reports, now))
        if form is not Form.TABLE or limit is None or last.item is None:
            return
        end = (last.item["fleet"], last.item["device"])
        with options.exit_on_error():
            more = client.call("CountDevices", **asked, StartAfter="/".join(end))["devices"]
    if more:
        given: dict[str, Sequence[str | None]] = {
            "state": [word],
            "name": [name],
            "version": [version],
            "label": label or [],
            "limit": [str(limit)],
        }
        words = [part for option, each in given.items() for text in each if text for part in (f"--{option}", text)]
        words += ["--after", end[1] if fleet else "/".join(end)]
        typer.echo(f"{more:,} more: {shlex.join(['status', *filter(None, [fleet]), *words])}")


@app.command("log")
@takes_site
@takes_form
def show_log(
    fleet: FleetArgument,
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A DeviceName.", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest entries, at most so many.")] = 100,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show a device's log: changes of its state and its plan, results, and what was deleted of it."""
    with open_client(site, read_only=True) as client:
        with options.exit_on_error():
            asked = {"DeviceFleetName": fleet, "DeviceName": device}
            entries = client.call("GetDeviceLog", **asked, MaxResults=limit)["entries"]
        output.write(form, entries, tables.log_table)
