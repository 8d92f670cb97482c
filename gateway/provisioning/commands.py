"""The commands on a site: they lock, check, write the broker's files and then register devices at the manager.

Each may be interrupted at any step and repeated. It must never change anything before all checks have passed. It prints
nothing.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.manager import ManagerError, Place, Store, StoreUnavailable, Transaction, local_auditor, open_store
from gateway.protocol import Device
from gateway.provisioning import atomic_files, conversion, credentials, site
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.board_file import AdvertisedBroker, CredentialKind
from gateway.provisioning.credentials import CredentialRequest, CredentialResult
from gateway.provisioning.device_names import PROBE, devices_of_users, in_order
from gateway.provisioning.inventory import DeviceInventory
from gateway.provisioning.site import Site

DEFAULT_ROOT = "edge"
CONVERT = "a mosquitto.conf that names another acl_file is changed by `edge-gateway devices convert`"


@dataclass(frozen=True, slots=True)
class DeviceListing:
    """One row of `list`. `end`: of the certificate; `registered` None: no manager was asked."""

    device: Device
    kind: CredentialKind | None
    end: datetime | None
    registered: bool | None
    has_board_file: bool

    def to_json(self) -> dict[str, object]:
        """`until` in Unix seconds, None without an end."""
        return {
            "fleet": self.device.fleet,
            "device": self.device.name,
            "credential": self.kind,
            "until": None if self.end is None else int(self.end.timestamp()),
            "registered": self.registered,
            "board_file": self.has_board_file,
        }


@contextlib.contextmanager
def open_site(root: Path, place: Place | None, now: datetime) -> Iterator[tuple[DeviceInventory, Store | None]]:
    """Lock a site. The manager's store is opened too, whether the manager runs or not; `place` None: none is.

    Raises ProvisioningError if one cannot be used.
    """
    folder = Site(root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(atomic_files.locked(folder.ca))
        inventory = DeviceInventory(folder, now)
        yield inventory, None if place is None else stack.enter_context(_open_manager(place))


@contextlib.contextmanager
def read_site(root: Path, place: Place | None, now: datetime) -> Iterator[tuple[DeviceInventory, Store | None]]:
    """As `open_site`, to read alone: it writes nothing and needs no right to. Each file is read as it is then."""
    with contextlib.ExitStack() as stack:
        inventory = DeviceInventory(Site(root), now, read_only=True)
        yield inventory, None if place is None else stack.enter_context(_open_manager(place, read_only=True))


@contextlib.contextmanager
def _open_manager(place: Place, read_only: bool = False) -> Iterator[Store]:
    try:
        with contextlib.closing(open_store(place, create=False, read_only=read_only)) as store:
            yield store
    except StoreUnavailable as error:
        raise ProvisioningError(str(error)) from error
    except ManagerError as error:
        raise ProvisioningError(
            f"{error}; or --no-register, where the devices are registered at another Edge Manager"
        ) from error


def init(
    root: Path, hosts: Sequence[str], now: datetime, made: list[str], renew: bool = False, topics: str | None = None
) -> None:
    """Make the files of a site that are missing. `topics`: their root in the ACL; None: "edge", or that of the ACL.

    What is made is appended to `made`, which is right too where a write fails. Raises ProvisioningError, before
    anything is made, for a wrong host name, if no name was given and the broker has no certificate yet, or if the ACL
    has another root.
    """
    folder = Site(root)
    site.check_hosts(folder, hosts)
    acl = folder.acl()
    new_acl = _new_acl(topics or DEFAULT_ROOT)
    if acl is not None and topics not in (None, acl.root):
        raise ProvisioningError(f"{folder.acl_path} is for the root {acl.root}: its lines are to be changed by hand")
    site.make_folders(folder)
    with atomic_files.locked(folder.ca):
        site.init(folder, hosts, now, made, renew)
        inventory = DeviceInventory(folder, now)
        had_acl = inventory.has_acl
        if not had_acl:
            inventory.replace_acl(new_acl)
        # Devices that got a credential before there was an ACL, or by a command that was interrupted.
        known = [device for device in (*inventory.devices(), PROBE) if inventory.kind(device)]
        granted = [device for device in known if inventory.grant_topics(device)]
        new_probe = _ensure_probe(inventory, now)
        inventory.commit()
        if not had_acl:
            made.append(f"the ACL, in {folder.acl_path}; {CONVERT}")
        elif granted:
            made.append(f"entries in the ACL for {len(granted):,} devices")
        if new_probe:
            made.append(f"an identity for the doctor's probe, in {folder.probe}")


def convert(root: Path, conf: Path, now: datetime) -> list[str]:
    """Replace an ACL of `pattern` lines by one with an entry for each device, and name it in `conf` (mosquitto.conf).

    Returns what it did. Raises ProvisioningError if the site or the files of the broker cannot be used.
    """
    folder = Site(root.absolute())
    with atomic_files.locked(folder.ca):
        inventory = DeviceInventory(folder, now)
        old = conversion.find_broker_files(conf)
        for path in (old.acl, *old.passwords):
            if not path.exists():
                raise ProvisioningError(f"{conf} names {path}, which does not exist: run this where the broker runs")
        previous, acl = folder.acl(), site.read_acl(old.acl.resolve())
        if acl is None:
            raise ProvisioningError(f"{old.acl} does not exist any more")
        acl = acl.without_patterns()
        inventory.replace_acl(acl)
        _ensure_probe(inventory, now)
        password_files = [site.read_passwords(path.resolve()) for path in old.passwords]
        others = devices_of_users(user for passwords in password_files for user in passwords.users())
        for device in in_order(inventory.devices() | others | {PROBE}):
            if inventory.kind(device) or device in others:
                inventory.grant_topics(device)
        done = [f"wrote the entries of {len(acl.users()):,} devices into {folder.acl_path}; others have no rights"]
        if previous is not None and _own_lines(previous) - set(acl.operator_lines()):
            before = folder.acl_path.with_name("acl.before")
            atomic_files.write(before, str(previous).encode(), atomic_files.SECRET)
            done.append(f"kept the previous file, which has lines that {old.acl} has not, as {before}")
        inventory.commit()
        if old.acl.resolve() != folder.acl_path.resolve():
            conversion.set_acl_file(old, folder.acl_path)
            done.append(f"{old.conf} names it as acl_file now, in place of {old.acl}")
    return done + [f"left as it is: {line} (since Mosquitto 2.1 %u and %c match one level)" for line in acl.patterns()]


def _own_lines(acl: AclFile) -> set[str]:
    """The lines that an operator has added to the ACL of a site."""
    return set(acl.operator_lines()) - set(_new_acl(acl.root).operator_lines())


def _ensure_probe(inventory: DeviceInventory, now: datetime) -> bool:
    """Plan a credential for the doctor. False if it has one that works; its host and port may have been changed."""
    try:
        board = inventory.usable_board_file(PROBE, "password")
    except ProvisioningError:
        board = None
    ca = inventory.authority.identity.certificate_der
    if board is not None and inventory.is_current(board) and board.ca in (None, ca):
        return False
    broker = AdvertisedBroker(inventory.hosts[0])
    credentials.add(inventory, PROBE, CredentialRequest("password", broker, now, renew=True))
    return True


def _new_acl(root: str) -> AclFile:
    try:
        return AclFile.new(root)
    except ValueError as error:
        raise ProvisioningError(str(error)) from error


def add(
    inventory: DeviceInventory,
    manager: Store | None,
    devices: Sequence[Device],
    request: CredentialRequest,
    now: datetime,
) -> list[tuple[CredentialResult, bool | None]]:
    """For each device the result, and whether it is newly registered (None: no manager)."""
    for device in devices:
        credentials.check(inventory, device, request)
    results = [credentials.add(inventory, device, request) for device in devices]
    inventory.commit()
    # Registration is last: the manager would wait for a registered device that cannot connect.
    if manager is None:
        return [(each, None) for each in results]
    new = _register(manager, devices, now.timestamp())
    return [(each, each.device in new) for each in results]


def _register(manager: Store, devices: Sequence[Device], now: float) -> set[Device]:
    """Those that were not registered."""
    fleets: dict[str, list[str]] = {}
    for device in devices:
        fleets.setdefault(device.fleet, []).append(device.name)

    auditor = local_auditor("sagemaker:RegisterDevices", now)

    def register(transaction: Transaction) -> set[Device]:
        return {
            Device(fleet, name)
            for fleet, names in fleets.items()
            for name in transaction.register(fleet, names, now, auditor)
        }

    return manager.write(register)


def remove(
    inventory: DeviceInventory, manager: Store | None, devices: Sequence[Device]
) -> list[tuple[CredentialResult, bool | None]]:
    """For each device the result, and whether it was registered (None: no manager)."""
    results = [credentials.remove(inventory, device) for device in devices]
    inventory.commit()
    was_registered = [None if manager is None else _deregister(manager, each) for each in devices]
    for device in devices:
        inventory.delete_board_file(device)
    return list(zip(results, was_registered, strict=True))


def _deregister(manager: Store, device: Device) -> bool:
    auditor = local_auditor("sagemaker:DeregisterDevices", time.time())
    return manager.write(lambda transaction: transaction.deregister(device.fleet, device.name, auditor))


def list_devices(inventory: DeviceInventory, manager: Store | None) -> list[DeviceListing]:
    """All devices of the site and of the manager, in order of their names."""
    rows = [] if manager is None else manager.read(lambda transaction: transaction.devices())
    registered = {Device(fleet, name) for fleet, name, _ in rows}
    return [
        _listing(inventory, device, None if manager is None else device in registered)
        for device in in_order(inventory.devices() | registered)
    ]


def _listing(inventory: DeviceInventory, device: Device, registered: bool | None) -> DeviceListing:
    certificate = inventory.certificate(device)
    end = None if certificate is None else certificate.not_valid_after_utc
    has_board_file = inventory.board_file_path(device).exists()
    return DeviceListing(device, inventory.kind(device), end, registered, has_board_file)
