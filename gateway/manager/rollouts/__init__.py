"""Rollouts: one deployment to many devices, in stages. `actions` is what an operator does; `decisions` has no I/O."""

from gateway.manager.rollouts.decisions import (
    AT_ONCE,
    PENDING,
    REPLACED,
    RolloutDeviceState,
    RolloutRules,
    RolloutState,
    Stage,
)
from gateway.manager.rollouts.records import NewRollout, Rollout
from gateway.manager.rollouts.repository import RolloutRepository
from gateway.manager.rollouts.runner import RolloutRunner
