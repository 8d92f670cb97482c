"""Gives devices credentials and takes them away, step by step.

The board file is written before anything else is changed, so the same command completes one that was interrupted. A
device has at most one credential. A removal must take the credential away before it deletes anything else.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.protocol import Device
from gateway.provisioning.board_file import AdvertisedBroker, BoardFile, CredentialKind
from gateway.provisioning.certificate_authority import check_common_name
from gateway.provisioning.inventory import DeviceInventory
from gateway.provisioning.site import generate_password


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """What devices get. `end`: of a certificate; `renew`: make a new credential and revoke the old one."""

    kind: CredentialKind
    broker: AdvertisedBroker
    end: datetime
    renew: bool = False


@dataclass(frozen=True, slots=True)
class CredentialResult:
    """What was done for one device. `needs_reload`: the broker must read its files again."""

    device: Device
    message: str
    needs_reload: bool = False
    board_file: Path | None = None
    """None: the device has no board file."""


def check(inventory: DeviceInventory, device: Device, request: CredentialRequest) -> None:
    """Raises ProvisioningError where `add` cannot do it: the device has a credential of the other kind, for example."""
    current = inventory.kind(device)
    if current not in (None, request.kind) and not request.renew:
        raise ProvisioningError(f"{device} has a {current}: --renew puts a {request.kind} in its place")
    if not request.renew:
        inventory.usable_board_file(device, request.kind)
    if request.kind == "certificate":
        check_common_name(str(device))


def add(inventory: DeviceInventory, device: Device, request: CredentialRequest) -> CredentialResult:
    """Write the board file and plan the credential, which `check` has allowed."""
    current = inventory.kind(device)
    board = None if request.renew else inventory.usable_board_file(device, request.kind)
    if current is not None and board is None and not request.renew:
        message = f"has its {current} already, and no board file: --renew makes both again"
        return CredentialResult(device, message, needs_reload=inventory.grant_topics(device))
    return _grant(inventory, device, request, current, board)


def _grant(
    inventory: DeviceInventory,
    device: Device,
    request: CredentialRequest,
    current: CredentialKind | None,
    board: BoardFile | None,
) -> CredentialResult:
    path, older = inventory.board_file_path(device), inventory.certificates(device)
    if board is None:
        wanted = _new_board_file(inventory, device, request)
    else:
        wanted = _with_new_address(inventory, board, request)
    if wanted != board:
        inventory.write_board_file(wanted)
    granted = inventory.grant_topics(device)
    if board is not None and inventory.is_current(board):
        return CredentialResult(device, f"has its {current} already, in {path}", granted, path)
    inventory.revoke_certificates(each for each in older if each != wanted.certificate)
    inventory.grant(wanted)
    # The broker accepts a new certificate at once. All other changes are in files that it must read again.
    needs_reload = granted or request.kind == "password" or current is not None
    return CredentialResult(device, f"{request.kind} in {path}", needs_reload, path)


def remove(inventory: DeviceInventory, device: Device) -> CredentialResult:
    """Plan the end of its credential. The caller deletes the board file after `commit`."""
    current, certificates = inventory.kind(device), inventory.certificates(device)
    # A removal that was interrupted before the reload leaves a board file without a credential.
    unfinished = inventory.board_file_path(device).exists()
    changed = inventory.revoke_all(device)
    if current is None and not certificates:
        return CredentialResult(device, "had no credential", needs_reload=changed or unfinished)
    return CredentialResult(device, f"lost its {current or 'certificate'}", needs_reload=True)


def _new_board_file(inventory: DeviceInventory, device: Device, request: CredentialRequest) -> BoardFile:
    ca = inventory.authority.identity.certificate_der
    if request.kind == "password":
        return BoardFile.with_password(device, request.broker, ca, generate_password())
    identity = inventory.authority.issue_device(str(device), request.end)
    return BoardFile.with_certificate(device, request.broker, ca, identity)


def _with_new_address(inventory: DeviceInventory, board: BoardFile, request: CredentialRequest) -> BoardFile:
    """The same credential with the requested address of the broker."""
    broker = request.broker
    ca = inventory.authority.identity.certificate_der if broker.tls else None
    return replace(board, host=broker.host, port=broker.port_for(request.kind), ca=ca)
