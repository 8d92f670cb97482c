"""Registration at the embedded Edge Manager: on its data directory, as its own commands do, whether it runs or not."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import ProvisioningError
from gateway.manager import Database, ManagerError, open_database
from gateway.provisioning.device_names import Device


class Registry:
    """An open store. Raises sqlite3.Error where the disk fails."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def register(self, device: Device, now: float) -> bool:
        """False where it was registered before."""
        return self._store.register(device.fleet, device.device, now)

    def deregister(self, device: Device) -> bool:
        """Its state, deployments and results go with it. False where it was not registered."""
        return self._store.deregister(device.fleet, device.device)

    def devices(self) -> set[Device]:
        return {Device(fleet, device) for fleet, device, _ in self._store.devices()}


@contextlib.contextmanager
def opened(data: Path) -> Iterator[Registry]:
    """Raises SiteError where there is no manager's data, or (in its block too) it cannot be used."""
    try:
        with contextlib.closing(open_database(data, create=False)) as store:
            yield Registry(store)
    except ManagerError as error:
        raise ProvisioningError(f"{error}; or --no-register, where another Edge Manager knows the devices") from error
    except sqlite3.Error as error:
        raise ProvisioningError(f"the manager's data in {data}: {error}") from error
