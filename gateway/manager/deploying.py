"""`deploy` and `undeploy`: model files into the store of objects, then one deployment for all its devices.

The files come first: a device never reads of a file that is not there. Names are held to the service model before
anything is written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.manager.deployments import Definition, Deployment, deployed
from gateway.manager.model import check_name, load
from gateway.manager.objects import Objects
from gateway.manager.refusals import ManagerError
from gateway.manager.store import Store

POLICIES = ("ROLLBACK_ON_FAILURE", "DO_NOTHING")


def check_names(shape: str, names: Sequence[str]) -> None:
    """Raises ManagerError where one of `names` is no such `shape` of the service model."""
    service = load()
    for name in names:
        mistake = check_name(service, shape, name)
        if mistake is not None:
            raise ManagerError(f"'{name}' is no {shape}: {mistake}")


def read_pairs(arguments: Sequence[str]) -> tuple[list[str], dict[str, Path]]:
    """What stands behind the fleet: names of devices, and HANDLE=FILE. Raises ManagerError."""
    devices, files = [], {}
    for argument in arguments:
        handle, equals, file = argument.partition("=")
        if not equals:
            devices.append(argument)
        elif not file:
            raise ManagerError(f"{argument} names no file: give HANDLE=FILE")
        elif handle in files:
            raise ManagerError(f"the model handle {handle} comes twice: one deployment has one file for each handle")
        else:
            files[handle] = Path(file)
    if not files:
        raise ManagerError("nothing to deploy: give at least one HANDLE=FILE")
    return devices, files


def choose_devices(store: Store, fleet: str, devices: Sequence[str], everyone: bool) -> dict[str, int]:
    """Names of devices -> their numbers in the store. Raises ManagerError where one is not registered."""
    if everyone == bool(devices):
        raise ManagerError("name the devices, or give --all for every device of the fleet; not both")
    check_fleet(store, fleet)
    wanted = [device for _, device, _ in store.devices(fleet)] if everyone else devices
    return {device: registered(store, fleet, device) for device in wanted}


def check_fleet(store: Store, fleet: str | None) -> None:
    """Raises ManagerError where a fleet is named that has no device; a fleet is known by its devices alone."""
    if fleet is not None and not store.devices(fleet):
        raise ManagerError(f"fleet {fleet} has no device: register one first")


def registered(store: Store, fleet: str, device: str) -> int:
    """The number of a device in the store. Raises ManagerError where it is not registered."""
    number = store.device_id(fleet, device)
    if number is None:
        raise ManagerError(f"device {device} is not registered in fleet {fleet}: register it first")
    return number


def deploy(
    store: Store,
    objects: Objects,
    devices: Sequence[int],
    files: Mapping[str, Path],
    *,
    bucket: str,
    name: str | None,
    policy: str,
    now: float,
) -> Deployment:
    """Gives all `devices` (numbers in the store) the models in `files` (handle -> file), or none of them.

    `name` None: made of the first handle and a number never used before. Raises ManagerError.
    """
    check_names("EntityName", [*files, *([] if name is None else [name])])
    if policy not in POLICIES:
        raise ManagerError(f"'{policy}' is no policy: {' or '.join(POLICIES)}")
    definitions = []
    for handle, file in files.items():
        stored = objects.take_in(file, bucket, handle)
        definitions.append(Definition(handle, "DEPLOY", stored.url, stored.sha1, stored.size))
    return store.deploy(
        devices,
        lambda number: Deployment(name or _name(definitions, number), policy, tuple(definitions), now),
        lambda device, known: None,
    )


def undeploy(store: Store, devices: Mapping[str, int], handle: str, *, name: str | None, now: float) -> Deployment:
    """Takes a model off `devices` (name -> number in the store). Raises ManagerError where one does not have it."""
    check_names("EntityName", [handle, *([] if name is None else [name])])
    names = {number: device for device, number in devices.items()}
    definitions = [Definition(handle, "UNDEPLOY")]

    def check(device: int, known: list[Deployment]) -> None:
        if not deployed(known, handle):
            raise ManagerError(f"device {names[device]} has no {handle} to undeploy: see `deployments`")

    return store.deploy(
        list(devices.values()),
        lambda number: Deployment(name or _name(definitions, number), "ROLLBACK_ON_FAILURE", tuple(definitions), now),
        check,
    )


def having(store: Store, devices: Mapping[str, int], handle: str) -> dict[str, int]:
    """Those of `devices` that have that model handle. Raises ManagerError where none has."""
    found = {device: number for device, number in devices.items() if deployed(store.deployments(number), handle)}
    if not found:
        raise ManagerError(f"no device of the fleet has {handle}: see `deployments`")
    return found


def _name(definitions: Sequence[Definition], number: int) -> str:
    """An EntityName has 63 characters at most; the device reads the name in every plan and sends it in every result."""
    return f"{definitions[0].handle[:50]}-{number}"
