"""The devices of a rollout, those that failed first. It must never write."""

import json
from typing import Any

import sqlalchemy as sa

from gateway.manager.reports.forms import DEPLOYMENT_DEVICE_STATES, DeploymentDevice
from gateway.manager.rollouts import Rollout, RolloutDeviceState
from gateway.manager.store import Transaction
from gateway.manager.store.tables import DEVICES, RESULTS, ROLLOUT_DEVICES

DevicePlace = tuple[str, int]
"""The state of a device as it is stored, and its place in the rollout: where a page begins."""
_WORDS = {state: word for word, states in DEPLOYMENT_DEVICE_STATES.items() for state in states}
_NOT_FETCHED = frozenset(
    {
        *(RolloutDeviceState.WAITING, RolloutDeviceState.ASSIGNED),
        *(RolloutDeviceState.SKIPPED, RolloutDeviceState.WITHDRAWN),
    }
)


def deployment_devices(
    transaction: Transaction, rollout: Rollout, state: str | None, after: DevicePlace | None, limit: int
) -> tuple[list[DeploymentDevice], list[DevicePlace]]:
    """The devices after that place, and the place of each. `state`: of `DEPLOYMENT_DEVICE_STATES`; None: all.

    Each part is a range of one index, however many devices the rollout has. ValueError: there is no such place.
    """
    states = list(_WORDS) if state is None else list(DEPLOYMENT_DEVICE_STATES[state])
    start = 0
    if after is not None:
        states = states[states.index(RolloutDeviceState(after[0])) :]
        start = after[1] + 1
    devices: list[DeploymentDevice] = []
    places: list[DevicePlace] = []
    for each in states:
        if len(devices) == limit:
            break
        select = _select(rollout, each, start, limit - len(devices))
        for place, name, result, received in transaction.connection.execute(select):
            devices.append(_device(each, name, result, received))
            places.append((str(each), place))
        start = 0
    return devices, places


def _select(rollout: Rollout, state: RolloutDeviceState, start: int, limit: int) -> sa.Select[Any]:
    result = (RESULTS.c.device == DEVICES.c.id) & (RESULTS.c.deployment == rollout.name)
    return (
        sa.select(ROLLOUT_DEVICES.c.place, DEVICES.c.name, RESULTS.c.result, RESULTS.c.received)
        .join_from(ROLLOUT_DEVICES, DEVICES)
        .outerjoin(RESULTS, result)
        .where(ROLLOUT_DEVICES.c.rollout == rollout.id, ROLLOUT_DEVICES.c.state == state)
        .where(ROLLOUT_DEVICES.c.place >= start)
        .order_by(ROLLOUT_DEVICES.c.place)
        .limit(limit)
    )


def _device(state: RolloutDeviceState, name: str, result: str | None, received: float | None) -> DeploymentDevice:
    found = {} if result is None else json.loads(result)
    return DeploymentDevice(
        device=name,
        state=_WORDS[state],
        fetched=state not in _NOT_FETCHED,
        status=found.get("DeploymentStatus"),
        message=found.get("DeploymentStatusMessage"),
        received=received,
    )
