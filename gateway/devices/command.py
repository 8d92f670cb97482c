"""One command on a site from beginning to end: lock, check, broker, manager, in an order that may break off anywhere.

Everything that can be refused is refused before the first change. It prints nothing.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.devices import files, provisioning, registry
from gateway.devices.board import Kind
from gateway.devices.books import Books
from gateway.devices.names import Device
from gateway.devices.provisioning import Order, Outcome
from gateway.devices.registry import Registry
from gateway.devices.site import Site


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
    site = Site(root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.locked(site.ca))
        books = Books(site, now)
        yield books, None if data is None else stack.enter_context(registry.opened(data))


def add(
    books: Books, manager: Registry | None, devices: Sequence[Device], order: Order, now: datetime
) -> list[tuple[Outcome, bool | None]]:
    """What was done for each, and whether it is newly registered (None: no manager)."""
    outcomes = [provisioning.add(books, device, order) for device in devices]
    books.commit()
    # Last: a device that is registered and cannot connect would be waited for.
    return [(each, None if manager is None else manager.register(each.device, now.timestamp())) for each in outcomes]


def remove(books: Books, manager: Registry | None, devices: Sequence[Device]) -> list[tuple[Outcome, bool | None]]:
    """What was done for each, and whether it was registered (None: no manager)."""
    outcomes = [provisioning.remove(books, device) for device in devices]
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
