"""One command on a site from beginning to end: lock, check, broker, manager, in an order that may break off anywhere.

Everything that can be refused is refused before the first change. It prints nothing.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.provisioning import atomic_files, conversion, credentials, manager_registry, site
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.board_file import BrokerUrl, Kind
from gateway.provisioning.credentials import Order, Outcome
from gateway.provisioning.device_names import PROBE, Device
from gateway.provisioning.inventory import Books
from gateway.provisioning.manager_registry import Registry
from gateway.provisioning.site import Site

DEFAULT_ROOT = "edge"
CONVERT = "a mosquitto.conf that names another acl_file is changed by `edge-gateway devices convert`"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `list`. `end`: of the certificate; `registered` None: no manager was asked."""

    device: Device
    kind: Kind | None
    end: datetime | None
    registered: bool | None
    has_board_file: bool


@contextlib.contextmanager
def opened(root: Path, data: Path | None, now: datetime) -> Iterator[tuple[Books, Registry | None]]:
    """The books and the manager (None: `data` names none), while no other command changes them."""
    folder = Site(root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(atomic_files.locked(folder.ca))
        books = Books(folder, now)
        yield books, None if data is None else stack.enter_context(manager_registry.opened(data))


def init(root: Path, hosts: Sequence[str], now: datetime, renew: bool = False, topics: str | None = None) -> list[str]:
    """Make what a site begins with, and keep what is there. `topics`: their root in the ACL; None: "edge", or as it is.

    Says what it made. Raises SiteError where a host name is none, or none was given and the broker has no certificate
    yet, or the ACL is for other topics.
    """
    folder = Site(root)
    site.make_folders(folder)
    with atomic_files.locked(folder.ca):
        made = site.init(folder, hosts, now, renew)
        books = Books(folder, now)
        known = folder.acl()
        if known is None:
            books.use_acl(_new_acl(topics or DEFAULT_ROOT))
            made.append(f"the ACL, in {folder.acl_path}; {CONVERT}")
        elif topics not in (None, known.root):
            raise ProvisioningError(
                f"{folder.acl_path} is for the root {known.root}: its lines are to be changed by hand"
            )
        # A device that a command gave a credential before there was an ACL, or that was interrupted.
        granted = [device for device in (*books.devices(), PROBE) if books.kind(device) and books.grant(device)]
        if granted and known is not None:
            made.append(f"entries in the ACL for {len(granted):,} devices")
        if _make_probe(books, now):
            made.append(f"an identity for the doctor's probe, in {folder.probe}")
        books.commit()
    return made


def convert(root: Path, conf: Path, now: datetime) -> list[str]:
    """Take a site over whose ACL was a file of `pattern` lines, and have `conf` (mosquitto.conf) name the site's ACL.

    Says what it did. Raises SiteError where the site or the files of the broker cannot be used.
    """
    folder = Site(root.absolute())
    with atomic_files.locked(folder.ca):
        books = Books(folder, now)
        old = conversion.find(conf)
        for path in (old.acl, *old.passwords):
            if not path.exists():
                raise ProvisioningError(f"{conf} names {path}, which is not there: run this where the broker runs")
        known, acl = folder.acl(), site.read_acl(old.acl.resolve())
        if acl is None:
            raise ProvisioningError(f"{old.acl} is not there any more")
        acl = acl.without_patterns()
        books.use_acl(acl)
        _make_probe(books, now)
        passwords = [site.read_passwords(path.resolve()) for path in old.passwords]
        others = {device for each in passwords for device in site.devices_in(each.users())}
        for device in sorted(books.devices() | others | {PROBE}):
            if books.kind(device) or device in others:
                books.grant(device)
        done = [f"wrote the entries of {len(acl.users()):,} devices into {folder.acl_path}; others have no rights"]
        if known is not None and set(known.others()) - set(acl.others()) - set(_new_acl(known.root).others()):
            before = folder.acl_path.with_name("acl.before")
            atomic_files.write(before, str(known).encode(), atomic_files.SECRET)
            done.append(f"kept what stood there, with lines that {old.acl} has not, as {before}")
        books.commit()
        if old.acl.resolve() != folder.acl_path.resolve():
            conversion.point_to(old, folder.acl_path)
            done.append(f"{old.conf} names it as acl_file now, in place of {old.acl}")
    return done + [f"left as it is: {line} (since Mosquitto 2.1 %u and %c match one level)" for line in acl.patterns()]


def _make_probe(books: Books, now: datetime) -> bool:
    """Plan an identity for the doctor's probe. False where it has one that works; its host and port may be changed."""
    try:
        board = books.usable_board(PROBE, "password")
    except ProvisioningError:
        board = None
    if board is not None and books.holds(board) and board.ca in (None, books.authority.identity.certificate_der):
        return False
    credentials.add(books, PROBE, Order("password", BrokerUrl(books.hosts[0]), now, renew=True))
    return True


def _new_acl(root: str) -> AclFile:
    try:
        return AclFile.new(root)
    except ValueError as error:
        raise ProvisioningError(str(error)) from error


def add(
    books: Books, manager: Registry | None, devices: Sequence[Device], order: Order, now: datetime
) -> list[tuple[Outcome, bool | None]]:
    """What was done for each, and whether it is newly registered (None: no manager)."""
    outcomes = [credentials.add(books, device, order) for device in devices]
    books.commit()
    # Last: a device that is registered and cannot connect would be waited for.
    return [(each, None if manager is None else manager.register(each.device, now.timestamp())) for each in outcomes]


def remove(books: Books, manager: Registry | None, devices: Sequence[Device]) -> list[tuple[Outcome, bool | None]]:
    """What was done for each, and whether it was registered (None: no manager)."""
    outcomes = [credentials.remove(books, device) for device in devices]
    books.commit()
    told = [(each, None if manager is None else manager.deregister(each.device)) for each in outcomes]
    for device in devices:
        books.forget_board(device)
    return told


def rows(books: Books, manager: Registry | None) -> list[Row]:
    """All devices that the site or the manager knows, in order of their names."""
    registered = set() if manager is None else manager.devices()
    return [
        _row(books, device, None if manager is None else device in registered)
        for device in sorted(books.devices() | registered)
    ]


def _row(books: Books, device: Device, registered: bool | None) -> Row:
    certificate = books.certificate(device)
    end = None if certificate is None else certificate.not_valid_after_utc
    return Row(device, books.kind(device), end, registered, books.board_path(device).exists())
