"""The `edge-gateway devices` commands. `app` is a part of the main command.

They print on stdout what they did and what the operator must do next (with `--print` on stderr, since the board file is
on stdout). An error is one line on stderr and exit status 2. It must import what is large only inside a command.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.errors import ProvisioningError, explain
from gateway.manager import DEFAULT_DATA, Place
from gateway.options import DEFAULT_SITE, SiteOption

if TYPE_CHECKING:
    from gateway.protocol import Device
    from gateway.provisioning.board_file import CredentialKind
    from gateway.provisioning.commands import DeviceListing
    from gateway.provisioning.credentials import CredentialResult

DEFAULT_CONF = Path("/etc/mosquitto/mosquitto.conf")
RELOAD = "Mosquitto must read its files again: systemctl reload mosquitto"
RELOAD_CONTAINER = "(in containers: docker compose kill -s SIGHUP mosquitto)"
NO_ACL = (
    "This site has no ACL with an entry for each device, which Mosquitto 2.1 and later need: `edge-gateway devices "
    "convert` makes it."
)
OPEN_CONNECTIONS = "Then a connection by a certificate that is open stays open, and may publish and receive nothing."

app = typer.Typer(name="devices", help="The site's identities: who may connect to the broker.", no_args_is_help=True)

ManagerDataOption = Annotated[
    Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")
]
ManagerDatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="EDGE_MANAGER_DATABASE",
        show_envvar=False,
        help="The manager's PostgreSQL, or EDGE_MANAGER_DATABASE.",
    ),
]
NoRegisterOption = Annotated[bool, typer.Option("--no-register", help="Do not change the Edge Manager.")]
OptionalFleetArgument = Annotated[
    str | None, typer.Argument(metavar="FLEET", help="A DeviceFleetName.", show_default=False)
]
_DEVICES = typer.Argument(metavar="DEVICE...", help="DeviceNames.", show_default=False)
DeviceArguments = Annotated[list[str] | None, _DEVICES]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="A file of lines `fleet,device`, in place of names.")]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        envvar="EDGE_BROKER",
        help="How devices reach the broker: mqtts://HOST[:PORT]; mqtt:// on a trusted network. Else: the first name "
        "that `init` was given, at the port of the shipped listener.",
    ),
]


@contextlib.contextmanager
def _exit_on_error() -> Iterator[None]:
    """Turns an error that an operator can fix into one line on stderr and exit status 2."""
    try:
        yield
    except (ProvisioningError, OSError) as error:
        text = explain(error) if isinstance(error, OSError) else " ".join(str(error).split())
        typer.echo(f"edge-gateway devices: {text}", err=True)
        raise typer.Exit(2) from error


@app.command()
def init(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST...", help="Names and addresses of the broker; devices get the first."),
    ] = None,
    site: SiteOption = DEFAULT_SITE,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new key and certificate of the broker.")] = False,
    root: Annotated[
        str | None,
        typer.Option(envvar="GATEWAY_ROOT", help="What every topic begins with, one level or more; else: edge."),
    ] = None,
) -> None:
    """Make the files of a site: certificate authority, certificate of the broker, the gateway's password, ACL.

    Files that exist stay; other HOSTs make a new certificate of the broker.
    """
    from gateway.provisioning import commands

    made: list[str] = []
    try:
        with _exit_on_error():
            commands.init(site, hosts or [], datetime.now(UTC), made, renew, root)
    finally:  # what is made is made, also where the rest fails
        for each in made:
            typer.echo(f"made {each}")
    typer.echo(f"{RELOAD} {RELOAD_CONTAINER}" if made else "nothing to make: all files exist")


@app.command()
def convert(
    conf: Annotated[Path, typer.Option("--conf", help="The broker's configuration.")] = DEFAULT_CONF,
    site: SiteOption = DEFAULT_SITE,
) -> None:
    """Give each device its own entry in the ACL, on a site whose ACL has `pattern` lines for all.

    With such lines Mosquitto 2.1 and later deny all devices. The entries are written to SITE/broker/acl, with the other
    lines of the acl_file that the configuration names now; then it names the new file. A second call changes nothing.
    """
    from gateway.provisioning import commands

    with _exit_on_error():
        done = commands.convert(site, conf, datetime.now(UTC))
    for each in done:
        typer.echo(each)
    typer.echo(f"{RELOAD} {RELOAD_CONTAINER}")


@app.command()
def add(
    fleet: OptionalFleetArgument = None,
    devices: DeviceArguments = None,
    csv: CsvOption = None,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="A certificate of the site's authority instead of a password.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, help="How long the certificate is valid.")] = 3650,
    broker: BrokerOption = None,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new credential; the old one is revoked.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the board file of the one device.")] = False,
    no_register: NoRegisterOption = False,
    site: SiteOption = DEFAULT_SITE,
    data: ManagerDataOption = DEFAULT_DATA,
    database: ManagerDatabaseOption = None,
) -> None:
    """Give devices a credential at the broker and a file for their boards, and register them at the manager.

    A second call changes nothing, or completes what was interrupted.
    """
    from gateway.provisioning import commands
    from gateway.provisioning.board_file import AdvertisedBroker
    from gateway.provisioning.credentials import CredentialRequest

    now = datetime.now(UTC)
    with _exit_on_error():
        chosen = _chosen(fleet, devices, csv)
        if show and len(chosen) != 1:
            raise ProvisioningError(f"--print prints the board file of one device, and here are {len(chosen)}")
        place = None if no_register else Place(data, database)
        with commands.open_site(site, place, now) as (inventory, manager):
            address = AdvertisedBroker(inventory.hosts[0]) if broker is None else AdvertisedBroker.parse(broker)
            kind: CredentialKind = "certificate" if certificate else "password"
            request = CredentialRequest(kind, address, now + timedelta(days=days), renew)
            done = commands.add(inventory, manager, chosen, request, now)
            has_acl = inventory.has_acl
        text = _board_file_text(done[0][0]) if show else ""
    _report(done, "registered", "was registered already", to_stderr=show)
    if not has_acl:
        typer.echo(NO_ACL, err=show)
    typer.echo(text, nl=False)


@app.command()
def remove(
    fleet: OptionalFleetArgument = None,
    devices: DeviceArguments = None,
    csv: CsvOption = None,
    no_register: NoRegisterOption = False,
    site: SiteOption = DEFAULT_SITE,
    data: ManagerDataOption = DEFAULT_DATA,
    database: ManagerDatabaseOption = None,
    mqtt_url: Annotated[
        str | None,
        typer.Option(
            envvar="GATEWAY_MQTT_URL",
            help="The broker: what it keeps for the devices is deleted at once. Else the gateway deletes it.",
        ),
    ] = None,
) -> None:
    """Revoke devices' credentials, deregister them, and delete their board files. A second call changes nothing.

    The line of a password is deleted, a certificate is revoked. The manager deletes its data of the devices.
    """
    from gateway.provisioning import commands

    with _exit_on_error():
        chosen = _chosen(fleet, devices, csv)
        place = None if no_register else Place(data, database)
        with commands.open_site(site, place, datetime.now(UTC)) as (inventory, manager):
            done = commands.remove(inventory, manager, chosen)
            root = inventory.root or commands.DEFAULT_ROOT
    _report(done, "deregistered", "was not registered")
    if any("certificate" in each.message for each, _ in done):
        typer.echo(OPEN_CONNECTIONS)
    if mqtt_url is None:
        return
    from gateway.provisioning import retained

    with _exit_on_error():
        retained.delete_retained(retained.broker_endpoint(mqtt_url, site), root, chosen)
    typer.echo(f"deleted what the broker kept for {len(chosen):,} devices")


@app.command("list")
def list_devices(
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs, times in Unix seconds.")] = False,
    no_register: Annotated[bool, typer.Option("--no-register", help="Do not ask the Edge Manager.")] = False,
    site: SiteOption = DEFAULT_SITE,
    data: ManagerDataOption = DEFAULT_DATA,
    database: ManagerDatabaseOption = None,
) -> None:
    """List all devices of the site and of the manager, with their credentials."""
    from gateway.provisioning import commands

    place = None if no_register else Place(data, database)
    opened = commands.read_site(site, place, datetime.now(UTC))
    with _exit_on_error(), opened as (inventory, manager):
        listings = commands.list_devices(inventory, manager)
    if as_json:
        typer.echo(json.dumps([each.to_json() for each in listings]))
    else:
        _print_table(listings)


def _chosen(fleet: str | None, names: list[str] | None, csv: Path | None) -> "list[Device]":
    from gateway.provisioning.device_names import devices_from_csv, devices_named

    if csv is not None and fleet is None:
        with csv.open(encoding="utf-8-sig", newline="") as file:
            try:
                return devices_from_csv(file)
            except ProvisioningError as error:
                raise ProvisioningError(f"{csv}: {error}") from error
    if csv is not None or fleet is None or not names:
        raise ProvisioningError("name a fleet and its devices, or give --csv; not both")
    return devices_named(fleet, names)


def _report(done: "list[tuple[CredentialResult, bool | None]]", yes: str, no: str, to_stderr: bool = False) -> None:
    """`yes`, `no`: what the manager's answer means; there is none where no manager was asked."""
    for each, answer in done:
        registration = "" if answer is None else f"; {yes if answer else no}"
        typer.echo(f"{each.device}: {each.message}{registration}", err=to_stderr)
    if any(each.needs_reload for each, _ in done):
        typer.echo(f"{RELOAD} {RELOAD_CONTAINER}", err=to_stderr)


def _board_file_text(result: "CredentialResult") -> str:
    if result.board_file is None:
        raise ProvisioningError(f"{result.device} {result.message}")
    return result.board_file.read_text()


def _print_table(listings: "Sequence[DeviceListing]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Fleet", "Device", "Credential", "Until", "Registered", "Board file")
    for each in listings:
        end = "" if each.end is None else f"{each.end:%Y-%m-%d}"
        registered = "not asked" if each.registered is None else _yes(each.registered)
        board_file = _yes(each.has_board_file)
        table.add_row(each.device.fleet, each.device.name, each.kind or "none", end, registered, board_file)
    # A pipe or a file has no width: a line may be as long as it needs.
    Console(width=None if Console().is_terminal else 400).print(table)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
