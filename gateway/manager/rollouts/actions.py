"""What an operator does with deployments: starts, changes or undoes a rollout of files that are in the model store.

The files come first: a device must never read of a file that does not exist. Names are checked before anything is
written. Each action takes the steps that are due; the service takes the rest. `auditor` None: no row of the audit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import MappingProxyType

from gateway.manager.api import POLICIES, ModelDefinition, is_deployed
from gateway.manager.errors import ManagerError, OptionError
from gateway.manager.rollouts.changes import undo_definitions_of
from gateway.manager.rollouts.decisions import (
    AT_ONCE,
    OPEN,
    Progress,
    RolloutDeviceState,
    RolloutRules,
    RolloutState,
    select_share,
)
from gateway.manager.rollouts.records import NewRollout, Rollout
from gateway.manager.rollouts.repository import RolloutRepository, parts
from gateway.manager.rollouts.runner import RolloutRunner
from gateway.manager.store import Auditor, Store, StoredFile, Transaction, add_package

ALL = Fraction(1)
LONGEST = 999_999 * 86_400.0
"""Seconds that a rule may name."""


_CHARACTERS = {
    "DeviceFleetName": "letters, digits, - and _, a letter or digit first and last, no - after a _",
    "DeviceName": "letters, digits, - and _, a letter or digit first and last, no - after a _",
    "EntityName": "letters, digits and -, a letter or digit first and last",
    "Version": "letters, digits, spaces, _ and .",
}
"""The patterns of the service model in words."""


def check_names(argument: str, shape: str, names: Sequence[str]) -> None:
    """Raises OptionError where one of `names` is not such a `shape` of the service model. `argument`: who typed it."""
    check_each(shape, ((argument, name) for name in names))


def check_each(shape: str, names: Iterable[tuple[str, str]]) -> None:
    """As `check_names`; `names`: (who typed it, name)."""
    from gateway.manager.api import validation  # botocore is not loaded for `--help`

    modelled = validation.load_service_model().shape_for(shape)
    check = validation.compile_shape(modelled)
    errors = validation.ValidationErrors()
    for argument, name in names:
        check(name, shape, errors)
        if errors.to_error() is not None:
            right = f"1 to {modelled.metadata['max']} characters: {_CHARACTERS[shape]}"
            raise OptionError(argument, f"'{name}' is not allowed: should be {right} ({shape})")


def parse_targets(arguments: Sequence[str]) -> tuple[list[str], dict[str, Path]]:
    """The arguments after the fleet: names of devices, and HANDLE=FILE. Raises ManagerError."""
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


def choose_devices(
    store: Store,
    fleet: str,
    devices: Sequence[str],
    all_devices: bool,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, int]:
    """Names of devices -> their ids; of all devices those that have each of the labels.

    Raises ManagerError where one is not registered, or none has the labels.
    """
    if all_devices == bool(devices):
        raise ManagerError("name the devices, or give --all for every device of the fleet; not both")
    if not all_devices:
        if labels:
            raise ManagerError("name the devices, or give --label to choose them; not both")
        return require_devices(store, fleet, devices)
    require_fleet(store, fleet)
    chosen = store.read(lambda transaction: transaction.devices_with(fleet, labels))
    if not chosen:
        named = ", ".join(f"{key}={value}" for key, value in labels.items())
        raise ManagerError(f"no device of fleet {fleet} has {named}: `status {fleet} -o json` shows their labels")
    return chosen


def require_fleet(store: Store, fleet: str) -> None:
    """Raises ManagerError where `fleet` has no device: a fleet exists while it has one."""
    if not store.read(lambda transaction: transaction.has_devices(fleet)):
        raise ManagerError(f"fleet {fleet} has no device: `manager devices` lists all")


def require_devices(store: Store, fleet: str, devices: Sequence[str]) -> dict[str, int]:
    """Names of devices -> their ids, in that order. Raises ManagerError where one is not registered."""
    found = store.read(lambda transaction: transaction.device_ids(fleet, devices))
    for device in devices:
        if device not in found:
            raise ManagerError(f"device {device} is not registered in fleet {fleet}: `manager devices` lists all")
    return {device: found[device] for device in devices}


def require_device(store: Store, fleet: str, device: str) -> int:
    """The id of a device. Raises ManagerError where it is not registered."""
    return require_devices(store, fleet, [device])[device]


def require_rollout(store: Store, fleet: str, name: str) -> int:
    """The id of that rollout. Raises ManagerError where there is none."""
    rollout_id = store.read(lambda transaction: RolloutRepository(transaction).find(fleet, name))
    if rollout_id is None:
        raise ManagerError(f"fleet {fleet} has no deployment named {name}: see `deployments`")
    return rollout_id


def devices_with(store: Store, devices: Mapping[str, int], handle: str) -> dict[str, int]:
    """Those of `devices` on which that model handle is deployed. Raises ManagerError where there is none."""
    chosen = _select_with(store, devices, handle)
    if not chosen:
        raise ManagerError(f"no device of the fleet has {handle}: see `deployments --devices`")
    return chosen


def _select_with(store: Store, devices: Mapping[str, int], handle: str) -> dict[str, int]:
    def read(transaction: Transaction) -> dict[str, int]:
        chosen: dict[str, int] = {}
        for part in parts(list(devices.items())):
            in_force = transaction.deployments_in_force([number for _, number in part])
            chosen |= {device: number for device, number in part if is_deployed(in_force[number], handle)}
        return chosen

    return store.read(read)


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """What `deploy` is to start: models of these handles for a share of the devices that are chosen.

    `name` None: made of the first handle and a number never used before.
    """

    fleet: str
    handles: Sequence[str]
    name: str | None = None
    policy: str = POLICIES[0]
    rules: RolloutRules = AT_ONCE
    share: Fraction = ALL


def preview(store: Store, new: NewDeployment, devices: Mapping[str, int], now: float) -> Rollout:
    """The rollout that `deploy` would start, of files that nobody looks for; its id is 0. Raises ManagerError."""
    _check(store, new)
    name = new.name or ""
    waiting = {RolloutDeviceState.WAITING: len(select_share(name, devices, new.share))}
    progress = Progress(new.rules, RolloutState.RUNNING, 0, 0.0, now, waiting)
    definitions = tuple(ModelDefinition(handle, "DEPLOY") for handle in new.handles)
    return Rollout(0, new.fleet, name, new.policy, definitions, now, None, None, "", progress)


def deploy(
    store: Store,
    new: NewDeployment,
    devices: Mapping[str, int],
    files: Mapping[str, StoredFile],
    versions: Mapping[str, str],
    *,
    now: float,
    auditor: Auditor | None = None,
) -> Rollout:
    """Starts the rollout of `files` (by handle) to that share of `devices` (name -> id).

    Each file becomes a package of its handle, with its version of `versions`; where that has none, as `add_package` has
    it. Raises ManagerError.
    """
    _check(store, new)
    check_names("--model-version", "Version", list(versions.values()))
    for handle, file in files.items():
        store.write(partial(_add_package, handle, versions.get(handle), file, now, auditor))
    definitions = tuple(
        ModelDefinition(handle, "DEPLOY", files[handle].url, files[handle].sha1, files[handle].size)
        for handle in new.handles
    )
    rollout = NewRollout(new.fleet, new.name, new.handles[0], new.policy, definitions, new.rules)
    # The order of the devices depends on the name, which `create` makes where the operator gave none.
    return RolloutRunner(store).start(rollout, lambda name: select_share(name, devices, new.share), now, auditor)


def _check(store: Store, new: NewDeployment) -> None:
    check_names("HANDLE", "EntityName", new.handles)
    if len(set(new.handles)) < len(new.handles):
        raise ManagerError("a model handle comes twice: one deployment has one file for each handle")
    name = new.name
    if name is not None:
        check_names("--name", "EntityName", [name])
        store.read(lambda transaction: RolloutRepository(transaction).require_unused(new.fleet, name))


def _add_package(
    handle: str,
    version: str | None,
    file: StoredFile,
    now: float,
    auditor: Auditor | None,
    transaction: Transaction,
) -> None:
    add_package(transaction.connection, handle, version, file, now, auditor)


def undeploy(
    store: Store,
    fleet: str,
    devices: Mapping[str, int],
    handle: str,
    *,
    name: str | None,
    now: float,
    auditor: Auditor | None = None,
) -> Rollout:
    """Removes a model from `devices` (name -> id). Raises ManagerError where one does not have it."""
    check_names("HANDLE", "EntityName", [handle])
    check_names("--name", "EntityName", [] if name is None else [name])
    without = devices.keys() - _select_with(store, devices, handle).keys()
    if without:
        raise ManagerError(f"device {min(without)} has no {handle} to undeploy: see `deployments --devices`")
    new = NewRollout(fleet, name, handle, POLICIES[0], (ModelDefinition(handle, "UNDEPLOY"),))
    return RolloutRunner(store).start(new, lambda name: select_share(name, devices, ALL), now, auditor)


def undo(store: Store, fleet: str, name: str, *, now: float, auditor: Auditor | None = None) -> Rollout | None:
    """Undoes a deployment: it ends, and each device that has it gets by a new rollout what it had before.

    That is the newest that it reported as SUCCESS and that is not halted, else the undeployment. Where no device has
    it, or a newer one superseded it everywhere, it only ends. None: it has ended, and no device has it. Raises
    ManagerError, and changes nothing, where there is none, or another rollout would later replace what it gives.
    """
    rollout_id, runner = require_rollout(store, fleet, name), RolloutRunner(store)
    rollout = runner.read(rollout_id)
    is_open = rollout.progress.state in OPEN
    if not is_open:
        runner.run_due_steps(rollout_id, now)
    device_ids = _devices_to_undo(store, rollout)
    if is_open and not device_ids:
        rollout = runner.set_state(rollout_id, RolloutState.ABORTED, now, auditor)
        device_ids = _devices_to_undo(store, rollout)  # one may have fetched it meanwhile
    if not device_ids:
        return rollout if is_open else None
    handles = tuple(ModelDefinition(each.handle, "UNDEPLOY") for each in rollout.definitions)
    stem = f"{rollout.definitions[0].handle}-undo"
    new = NewRollout(fleet, None, stem, rollout.policy, handles, undoes=name)
    undo_id = runner.create(new, lambda _: device_ids, now, auditor)
    runner.run_due_steps(rollout_id, now)
    return runner.run_due_steps(undo_id, now)


def _devices_to_undo(store: Store, rollout: Rollout) -> list[int]:
    """The devices that have the deployment or may still fetch it, in their order; none where no device has it."""

    def read(transaction: Transaction) -> list[int]:
        rollouts = RolloutRepository(transaction)
        states = rollouts.reached_devices(rollout.id)
        has_it = set()
        for part in parts(list(states)):
            found = undo_definitions_of(rollouts, part, rollout.name)
            has_it |= {device for device, definitions in found.items() if definitions}
        superseded = RolloutDeviceState.SUPERSEDED
        return [each for each in states if each in has_it or states[each] is not superseded] if has_it else []

    return store.read(read)


def set_state(
    store: Store, fleet: str, name: str, state: RolloutState, *, now: float, auditor: Auditor | None = None
) -> Rollout:
    """Pauses, resumes or aborts a rollout. Raises ManagerError where there is none, or it has ended."""
    return RolloutRunner(store).set_state(require_rollout(store, fleet, name), state, now, auditor)
