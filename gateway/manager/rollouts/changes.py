"""What a step of a rollout changes of its devices, in the caller's transaction: they are given it, or it is taken back.

What a device has fetched is never taken back, and what a newer rollout gave it is never replaced.
"""

from collections.abc import Collection, Sequence

from gateway.manager.api import DeviceDeployment, ModelDefinition, undo_definitions
from gateway.manager.rollouts.decisions import PENDING, RolloutDeviceState
from gateway.manager.rollouts.records import Rollout
from gateway.manager.rollouts.repository import Moves, RolloutRepository
from gateway.manager.store import LogEntry, PlanChange, plan_entry

_IN_PLACE = {
    RolloutDeviceState.SUPERSEDED: RolloutDeviceState.FETCHED,
    RolloutDeviceState.SKIPPED: RolloutDeviceState.ASSIGNED,
}
"""The state of a device that has a deployment again, since a newer one was taken back."""
_REPLACED = {after: before for before, after in _IN_PLACE.items()}


def assign(rollouts: RolloutRepository, rollout: Rollout, count: int, now: float) -> bool:
    """To the next devices; False: there are none. What a newer rollout gave a device stays."""
    device_ids = rollouts.next_devices(rollout.id, RolloutDeviceState.WAITING, count)
    before = rollouts.transaction.deployments_in_force(device_ids)
    known = rollouts.find_devices([(device, each.name) for device, found in before.items() for each in found])
    definitions = _definitions(rollouts, rollout, device_ids)
    deployments = {}
    for device in device_ids:
        newer = [each for each in before[device] if known.get((device, each.name), (0,))[0] > rollout.id]
        handles = {definition.handle for each in newer for definition in each.definitions}
        wanted = tuple(each for each in definitions[device] if each.handle not in handles)
        if wanted:
            deployments[device] = DeviceDeployment(rollout.name, rollout.policy, wanted, now)
    superseded = rollouts.transaction.assign(deployments, before)
    names = [(device, name) for device, each in superseded.items() for name in each]
    log = [plan_entry(device, now, PlanChange.SUPERSEDED, name) for device, name in names]
    log += [plan_entry(device, now, PlanChange.ASSIGNED, rollout.name) for device in deployments]
    moves: Moves = {}
    for device in device_ids:
        after = RolloutDeviceState.ASSIGNED if device in deployments else RolloutDeviceState.SKIPPED
        moves[device, rollout.id] = (RolloutDeviceState.WAITING, after)
    for device, name in names:
        other, state = known.get((device, name), (0, None))
        if state in PENDING:
            moves[device, other] = (state, _REPLACED[state])
    if rollout.undoes is not None:
        more, moved = _take_back_undone(rollouts, rollout.undoes, [*definitions.keys() - deployments.keys()], now)
        log, moves = log + more, moves | moved
    return write(rollouts, log, moves)


def undo_definitions_of(
    rollouts: RolloutRepository, device_ids: Collection[int], name: str
) -> dict[int, tuple[ModelDefinition, ...]]:
    """What each device gets where the deployment of that name is undone; none where there is nothing to undo.

    Nor where the device has not fetched it: it is taken back there.
    """
    history = rollouts.transaction.history(device_ids)
    shown = rollouts.transaction.deployments_in_force(device_ids)
    halted = rollouts.halted(device_ids)
    states = rollouts.find_devices([(device, each.name) for device, known in history.items() for each in known])
    found: dict[int, tuple[ModelDefinition, ...]] = {}
    for device, known in history.items():
        ended = halted[device] - {each.name for each in shown[device]}
        state = {each.name: states.get((device, each.name), (0, None))[1] for each in known}
        succeeded = {each for each in state if state[each] is RolloutDeviceState.SUCCEEDED} - halted[device]
        is_there = state.get(name) is not RolloutDeviceState.ASSIGNED
        found[device] = undo_definitions(known, name, ended, succeeded) if is_there else ()
    return found


def _definitions(
    rollouts: RolloutRepository, rollout: Rollout, device_ids: Collection[int]
) -> dict[int, tuple[ModelDefinition, ...]]:
    if rollout.undoes is None:
        return dict.fromkeys(device_ids, rollout.definitions)
    return undo_definitions_of(rollouts, device_ids, rollout.undoes)


def take_back(rollouts: RolloutRepository, rollout: Rollout, after: RolloutDeviceState, count: int, now: float) -> bool:
    """From the next devices that have not fetched it; False: there are none. `after`: their state then."""
    device_ids = rollouts.next_devices(rollout.id, RolloutDeviceState.ASSIGNED, count)
    return write(rollouts, *take_back_from(rollouts, (rollout.id, rollout.name), device_ids, after, now))


def _take_back_undone(
    rollouts: RolloutRepository, name: str, device_ids: Sequence[int], now: float
) -> tuple[list[LogEntry], Moves]:
    """The deployment of that name, which is undone, from those of the devices that have not fetched it."""
    found = rollouts.find_devices([(device, name) for device in device_ids])
    late = {device: number for (device, _), (number, state) in found.items() if state is RolloutDeviceState.ASSIGNED}
    if not late:
        return [], {}
    return take_back_from(rollouts, (max(late.values()), name), list(late), RolloutDeviceState.WITHDRAWN, now)


def take_back_from(
    rollouts: RolloutRepository,
    taken: tuple[int, str],
    device_ids: Sequence[int],
    after: RolloutDeviceState,
    now: float,
) -> tuple[list[LogEntry], Moves]:
    """A deployment (id, name) that these devices have not fetched: each has what was in force before it again.

    But nothing that is halted. Returns what `write` writes.
    """
    rollout_id, name = taken
    names = rollouts.transaction.withdraw(device_ids, name, rollouts.halted(device_ids))
    again = rollouts.find_devices([(device, each) for device, found in names.items() for each in found])
    moves: Moves = {
        (device, other): (before, _IN_PLACE[before])
        for (device, _), (other, before) in again.items()
        if before in _IN_PLACE
    }
    for device in device_ids:
        moves[device, rollout_id] = (RolloutDeviceState.ASSIGNED, after)
    change = PlanChange.HELD if after is RolloutDeviceState.WAITING else PlanChange.WITHDRAWN
    return [plan_entry(device, now, change, name) for device in device_ids], moves


def write(rollouts: RolloutRepository, log: Sequence[LogEntry], moves: Moves) -> bool:
    """The devices' states, and with them their log; False: nothing changes."""
    if moves:
        rollouts.transaction.log(log)
        rollouts.move(moves)
    return bool(moves)
