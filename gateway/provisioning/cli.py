"""The `edge-gateway devices` commands: `app`, which the main command mounts.

They say what they did on stdout (on stderr with `--print`, which keeps stdout for the board file), and what is left for
the operator. An error is one line on stderr and exit status 2. Nothing is decided here.
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.errors import ProvisioningError
from gateway.manager import DEFAULT_DATA

if TYPE_CHECKING:
    from gateway.provisioning.credentials import Outcome
    from gateway.provisioning.device_names import Device

DEFAULT_SITE = Path("/etc/edge-gateway")
DEFAULT_CONF = Path("/etc/mosquitto/mosquitto.conf")
RELOAD = "Mosquitto knows it once it has read its files again: systemctl reload mosquitto"
RELOAD_CONTAINER = "(in containers: docker compose kill -s SIGHUP mosquitto)"
NO_ACL = (
    "This site has no ACL with an entry for each device, which Mosquitto 2.1 and later need: `edge-gateway devices "
    "convert` makes it."
)
RUNNING = "Then a connection by a certificate that is open stays open, and may publish and receive nothing."

app = typer.Typer(name="devices", help="The site's identities: who may connect to the broker.", no_args_is_help=True)

SiteFolder = Annotated[Path, typer.Option("--site", envvar="EDGE_SITE", help="The folder of the site's identities.")]
Data = Annotated[Path, typer.Option("--data", envvar="EDGE_MANAGER_DATA", help="The manager's data directory.")]
NoRegister = Annotated[bool, typer.Option("--no-register", help="Leave the Edge Manager alone.")]
Fleet = Annotated[str | None, typer.Argument(help="A DeviceFleetName.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(metavar="DEVICE...", help="DeviceNames.", show_default=False)]
Csv = Annotated[Path | None, typer.Option("--csv", help="A file of lines `fleet,device`, in place of names.")]
Broker = Annotated[
    str | None,
    typer.Option(
        envvar="EDGE_BROKER",
        help="How devices reach the broker: mqtts://HOST[:PORT]; mqtt:// on a trusted network. Else: the first name "
        "that `init` was given, at the port of the shipped doors.",
    ),
]


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Turns what an operator can mend into one line on stderr and exit status 2."""
    try:
        yield
    except (ProvisioningError, OSError) as error:
        typer.echo(f"edge-gateway devices: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


@app.command()
def init(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST...", help="Names and addresses of the broker; devices get the first."),
    ] = None,
    site: SiteFolder = DEFAULT_SITE,
    renew: Annotated[bool, typer.Option("--renew", help="Draw the broker a new key and certificate.")] = False,
    root: Annotated[
        str | None,
        typer.Option(envvar="GATEWAY_ROOT", help="What every topic begins with, in the ACL; else: edge."),
    ] = None,
) -> None:
    """Make what a site begins with: certificate authority, certificate of the broker, the gateway's password, ACL.

    Doing so again keeps what is there; other HOSTs make a new certificate for the broker.
    """
    from gateway.provisioning import commands

    with _telling():
        made = commands.init(site, hosts or [], datetime.now(UTC), renew, root)
    for each in made:
        typer.echo(f"made {each}")
    typer.echo(f"{RELOAD} {RELOAD_CONTAINER}" if made else "nothing to make: all is there")


@app.command()
def convert(
    conf: Annotated[Path, typer.Option("--conf", help="The broker's configuration.")] = DEFAULT_CONF,
    site: SiteFolder = DEFAULT_SITE,
) -> None:
    """Give each device an entry of its own in the ACL, on a site whose ACL has `pattern` lines for all.

    Mosquitto 2.1 and later deny devices by such lines. The entries go into SITE/broker/acl, with the other lines of the
    acl_file that the configuration names now; then it names the new file. Doing so again changes nothing.
    """
    from gateway.provisioning import commands

    with _telling():
        done = commands.convert(site, conf, datetime.now(UTC))
    for each in done:
        typer.echo(each)
    typer.echo(f"{RELOAD} {RELOAD_CONTAINER}")


@app.command()
def add(
    fleet: Fleet = None,
    devices: Names = None,
    csv: Csv = None,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="A certificate of the site's authority in place of a password.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, help="How long the certificate is good.")] = 3650,
    broker: Broker = None,
    renew: Annotated[bool, typer.Option("--renew", help="Draw a new credential; the old one ends.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the board file of the one device.")] = False,
    no_register: NoRegister = False,
    site: SiteFolder = DEFAULT_SITE,
    data: Data = DEFAULT_DATA,
) -> None:
    """Give devices a credential at the broker and a file for their boards, and register them at the manager.

    Doing so again changes nothing, and completes what was interrupted.
    """
    from gateway.provisioning import commands
    from gateway.provisioning.board_file import BrokerUrl
    from gateway.provisioning.credentials import Order

    now = datetime.now(UTC)
    with _telling():
        chosen = _chosen(fleet, devices, csv)
        if show and len(chosen) != 1:
            raise ProvisioningError(f"--print prints the board file of one device, and here are {len(chosen)}")
        with commands.opened(site, None if no_register else data, now) as (books, manager):
            url = BrokerUrl(books.hosts[0]) if broker is None else BrokerUrl.parse(broker)
            order = Order("certificate" if certificate else "password", url, now + timedelta(days=days), renew)
            done = commands.add(books, manager, chosen, order, now)
            has_acl = books.has_acl
        text = _board_text(done[0][0]) if show else ""
    _tell([(each, _word(new, "registered", "was registered already")) for each, new in done], to_stderr=show)
    if not has_acl:
        typer.echo(NO_ACL, err=show)
    typer.echo(text, nl=False)


@app.command()
def remove(
    fleet: Fleet = None,
    devices: Names = None,
    csv: Csv = None,
    no_register: NoRegister = False,
    site: SiteFolder = DEFAULT_SITE,
    data: Data = DEFAULT_DATA,
) -> None:
    """Take devices' credentials away, deregister them, and delete their board files; doing so again changes nothing.

    A password's line goes, a certificate is revoked. What the manager keeps of the devices goes too.
    """
    from gateway.provisioning import commands

    with _telling():
        chosen = _chosen(fleet, devices, csv)
        with commands.opened(site, None if no_register else data, datetime.now(UTC)) as (books, manager):
            done = commands.remove(books, manager, chosen)
    _tell([(each, _word(was, "deregistered", "was not registered")) for each, was in done])
    if any("certificate" in each.told for each, _ in done):
        typer.echo(RUNNING)


@app.command("list")
def list_devices(
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs, times in Unix seconds.")] = False,
    no_register: NoRegister = False,
    site: SiteFolder = DEFAULT_SITE,
    data: Data = DEFAULT_DATA,
) -> None:
    """List all devices that the site or the manager knows, and what they connect by."""
    from gateway.provisioning import commands, tables

    with (
        _telling(),
        commands.opened(site, None if no_register else data, datetime.now(UTC)) as (books, manager),
    ):
        rows = commands.rows(books, manager)
    if as_json:
        typer.echo(json.dumps([tables.report(row) for row in rows]))
    else:
        tables.show(rows)


def _chosen(fleet: str | None, names: list[str] | None, csv: Path | None) -> "list[Device]":
    from gateway.provisioning.device_names import chosen, from_csv

    if csv is not None and fleet is None:
        with csv.open(encoding="utf-8-sig", newline="") as file:
            try:
                return from_csv(file)
            except ProvisioningError as error:
                raise ProvisioningError(f"{csv}: {error}") from error
    if csv is not None or fleet is None or not names:
        raise ProvisioningError("name a fleet and its devices, or give --csv; not both")
    return chosen(fleet, names)


def _tell(done: "list[tuple[Outcome, str]]", to_stderr: bool = False) -> None:
    for each, registration in done:
        typer.echo(f"{each.device.user}: {each.told}{registration}", err=to_stderr)
    if any(each.reload for each, _ in done):
        typer.echo(f"{RELOAD} {RELOAD_CONTAINER}", err=to_stderr)


def _word(answer: bool | None, yes: str, no: str) -> str:
    return "" if answer is None else f"; {yes if answer else no}"


def _board_text(outcome: "Outcome") -> str:
    if outcome.board is None:
        raise ProvisioningError(f"{outcome.device.user} {outcome.told}")
    return outcome.board.read_text()
