"""What an operator does with deployments: model files into the store of objects, then a rollout to the devices.

The files come first: a device never reads of a file that is not there. Names are held to the service model before
anything is written. Each of these takes the steps that are due; of a large fleet, the service takes the rest.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from gateway.manager.api.deployments import Definition, deployed, undone
from gateway.manager.api.validation import check_name, load
from gateway.manager.errors import ManagerError
from gateway.manager.objects.object_store import Objects
from gateway.manager.rollouts.decisions import AT_ONCE, OPEN, Rules, State, portion
from gateway.manager.rollouts.repository import Draft, Rollout, Rollouts
from gateway.manager.rollouts.runner import Rolling
from gateway.manager.store.database import Store

ALL = Fraction(1)
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
    if not everyone:
        return {device: registered(store, fleet, device) for device in devices}
    check_fleet(store, fleet)
    return store.numbers(fleet)


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
    fleet: str,
    devices: Mapping[str, int],
    files: Mapping[str, Path],
    *,
    bucket: str,
    name: str | None,
    policy: str,
    now: float,
    rules: Rules = AT_ONCE,
    share: Fraction = ALL,
) -> Rollout:
    """Begins a rollout of the models in `files` (handle -> file) to that share of `devices` (name -> number).

    `name` None: made of the first handle and a number never used before. Raises ManagerError.
    """
    check_names("EntityName", [*files, *([] if name is None else [name])])
    if policy not in POLICIES:
        raise ManagerError(f"'{policy}' is no policy: {' or '.join(POLICIES)}")
    definitions = []
    for handle, file in files.items():
        stored = objects.take_in(file, bucket, handle)
        definitions.append(Definition(handle, "DEPLOY", stored.url, stored.sha1, stored.size))
    draft = Draft(fleet, name, definitions[0].handle, policy, tuple(definitions), rules)
    return _begin(store, draft, devices, share, now)


def undeploy(
    store: Store, fleet: str, devices: Mapping[str, int], handle: str, *, name: str | None, now: float
) -> Rollout:
    """Takes a model off `devices` (name -> number in the store). Raises ManagerError where one does not have it."""
    check_names("EntityName", [handle, *([] if name is None else [name])])
    for device, number in devices.items():
        if not deployed(store.deployments(number), handle):
            raise ManagerError(f"device {device} has no {handle} to undeploy: see `deployments --devices`")
    draft = Draft(fleet, name, handle, POLICIES[0], (Definition(handle, "UNDEPLOY"),))
    return _begin(store, draft, devices, ALL, now)


def undo(store: Store, fleet: str, name: str, *, now: float) -> Rollout:
    """Takes a deployment back: it ends, and each device that knows of it gets what it had before, by a new rollout.

    Where none knows of it, or nothing of it is in force any more, it has but ended. Raises ManagerError where there is
    none.
    """
    number, rollouts, rolling = found(store, fleet, name), Rollouts(store), Rolling(store)
    if rollouts.read(number).progress.state in OPEN:
        rolling.switch(number, State.ABORTED)
    known, devices = rolling.settle(number, now), rollouts.reached(number)
    if not any(undone(store.history(device), name) for device in devices):
        return known
    handles = tuple(Definition(each.handle, "UNDEPLOY") for each in known.definitions)
    stem = f"{known.definitions[0].handle}-undo"
    begun = rollouts.begin(Draft(fleet, None, stem, known.policy, handles, undoes=name), lambda _: devices, now)
    return rolling.settle(begun, now)


def switch(store: Store, fleet: str, name: str, state: State, *, now: float) -> Rollout:
    """Pauses, resumes or aborts a rollout. Raises ManagerError where there is none, or it has ended."""
    number, rolling = found(store, fleet, name), Rolling(store)
    rolling.switch(number, state)
    return rolling.settle(number, now)


def found(store: Store, fleet: str, name: str) -> int:
    """The number of that rollout. Raises ManagerError where there is none."""
    number = Rollouts(store).find(fleet, name)
    if number is None:
        raise ManagerError(f"fleet {fleet} has no deployment named {name}: see `deployments`")
    return number


def having(store: Store, devices: Mapping[str, int], handle: str) -> dict[str, int]:
    """Those of `devices` that have that model handle. Raises ManagerError where none has."""
    found = {device: number for device, number in devices.items() if deployed(store.deployments(number), handle)}
    if not found:
        raise ManagerError(f"no device of the fleet has {handle}: see `deployments --devices`")
    return found


def _begin(store: Store, draft: Draft, devices: Mapping[str, int], share: Fraction, now: float) -> Rollout:
    """The devices are ordered by the deployment's name, which is made here where the operator gave none."""
    number = Rollouts(store).begin(draft, lambda name: [devices[each] for each in portion(name, devices, share)], now)
    return Rolling(store).settle(number, now)
