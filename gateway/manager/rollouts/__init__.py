"""Rollouts: one deployment to many devices, in stages. `actions` is what an operator does; `decisions` has no I/O."""

from gateway.manager.rollouts.decisions import (
    AT_ONCE,
    HALTED,
    OPEN,
    PENDING,
    REPLACED,
    RolloutDeviceState,
    RolloutRules,
    RolloutState,
    Stage,
    gate_of,
    place_of,
    rollout_order,
)
from gateway.manager.rollouts.records import NewRollout, Rollout
from gateway.manager.rollouts.repository import PART, PUBLISHED, RolloutRepository, parts
from gateway.manager.rollouts.runner import RolloutRunner
