"""Adding and removing devices: what is to be done for each, step by step.

What a command was asked to do stands in the board file before anything else is changed, so the same command again
completes one that was interrupted. A device has one credential. Who is removed loses it before anything else is
forgotten.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.provisioning.board_file import BoardFile, BrokerUrl, Kind
from gateway.provisioning.device_names import Device
from gateway.provisioning.inventory import Books
from gateway.provisioning.site import draw_password


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done at the broker for one device. `reload`: it must read its files again to know."""

    device: Device
    told: str
    reload: bool = False
    board: Path | None = None
    """The board file, None where there is none."""


@dataclass(frozen=True, slots=True)
class Order:
    """What devices are to have. `end`: of a certificate; `renew`: draw a new credential, and revoke the old one."""

    kind: Kind
    broker: BrokerUrl
    end: datetime
    renew: bool = False


def add(books: Books, device: Device, order: Order) -> Outcome:
    """Write the board file and plan the credential. Raises SiteError where it has one of the other kind."""
    known = books.kind(device)
    if known not in (None, order.kind) and not order.renew:
        raise ProvisioningError(f"{device.user} has a {known}: --renew puts a {order.kind} in its place")
    board = None if order.renew else books.usable_board(device, order.kind)
    if known is not None and board is None and not order.renew:
        kept = f"has its {known} already, and no board file: --renew draws both anew"
        return Outcome(device, kept, reload=books.grant(device))
    return _admit(books, device, order, known, board)


def _admit(books: Books, device: Device, order: Order, known: Kind | None, board: BoardFile | None) -> Outcome:
    path, older = books.board_path(device), books.certificates(device)
    wanted = _drawn(books, device, order) if board is None else _addressed(books, board, order)
    if wanted != board:
        books.write_board(wanted)
    granted = books.grant(device)
    if board is not None and books.holds(board):
        return Outcome(device, f"has its {known} already, in {path}", granted, path)
    books.revoke(each for each in older if each != wanted.certificate)
    books.admit(wanted)
    # The broker knows a certificate by its authority; all else stands in files that it must read again.
    return Outcome(device, f"{order.kind} in {path}", granted or order.kind == "password" or known is not None, path)


def remove(books: Books, device: Device) -> Outcome:
    """Plan the end of its credential. The board file stays until that is done."""
    known, left = books.kind(device), books.certificates(device)
    # A board file without a credential is what a removal leaves that broke off before the broker's reload.
    unfinished = books.board_path(device).exists()
    changed = books.shut_out(device)
    if known is None and not left:
        return Outcome(device, "had no credential", reload=changed or unfinished)
    return Outcome(device, f"lost its {known or 'certificate'}", reload=True)


def _drawn(books: Books, device: Device, order: Order) -> BoardFile:
    ca = books.authority.identity.certificate_der
    if order.kind == "password":
        return BoardFile.with_password(device, order.broker, ca, draw_password())
    identity = books.authority.issue_device(device.user, order.end)
    return BoardFile.with_certificate(device, order.broker, ca, identity)


def _addressed(books: Books, board: BoardFile, order: Order) -> BoardFile:
    """The same credential, for the broker that is named now."""
    ca = books.authority.identity.certificate_der if order.broker.tls else None
    return replace(board, host=order.broker.host, port=order.broker.port_for(order.kind), ca=ca)
