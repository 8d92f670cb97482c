"""A rollout as it is stored: its row, and its rules as JSON. No I/O, no clock. Times are Unix seconds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from gateway.manager.api import ModelDefinition
from gateway.manager.rollouts.decisions import (
    AT_ONCE,
    Progress,
    RolloutDeviceState,
    RolloutRules,
    RolloutState,
    Stage,
)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One deployment to many devices. `created`: Unix seconds; `undoes`: the deployment that it undoes; `plan`: the
    deployment plan of the API whose stage it carries out, None: a command made it.

    Where it undoes one, `definitions` has the handles only: each device gets what it had before.
    """

    id: int
    fleet: str
    name: str
    policy: str
    definitions: tuple[ModelDefinition, ...]
    created: float
    undoes: str | None
    plan: str | None
    reason: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class NewRollout:
    """What `create` is to write. `name` None: made of `stem` and a number never used before."""

    fleet: str
    name: str | None
    stem: str
    policy: str
    definitions: tuple[ModelDefinition, ...]
    rules: RolloutRules = AT_ONCE
    undoes: str | None = None
    plan: str | None = None

    def members(self, name: str, devices: int) -> dict[str, Any]:
        """For the audit, under the `name` that it got; `devices`: how many it is for."""
        members = {
            "DeploymentName": name,
            "FailureHandlingPolicy": self.policy,
            "Definitions": [each.to_api() for each in self.definitions],
            "Devices": devices,
            "Rules": json.loads(rules_to_json(self.rules)),
        }
        return members if self.undoes is None else members | {"Undoes": self.undoes}


def rollout_from(row: Sequence[Any], devices: Mapping[RolloutDeviceState, int]) -> Rollout:
    """`row`: the columns of `repository`'s select; `devices`: how many are in each state."""
    rollout_id, fleet, name, policy, definitions, created, rules, undoes, plan, *changing = row
    state, reason, stage, lasted, counted, watched, silent = changing
    return Rollout(
        id=rollout_id,
        fleet=fleet,
        name=name,
        policy=policy,
        definitions=tuple(ModelDefinition(**each) for each in json.loads(definitions)),
        created=created,
        undoes=undoes,
        plan=plan,
        reason=reason,
        progress=Progress(
            rules_from_json(rules), RolloutState(state), stage, lasted, counted, devices, watched, silent
        ),
    )


def rules_to_json(rules: RolloutRules) -> str:
    stages = [(str(stage.share), str(stage.min_success), stage.wait) for stage in rules.stages]
    stop_at = None if rules.stop_at is None else str(rules.stop_at)
    members: dict[str, Any] = {"stages": stages, "stop_at": stop_at, "stop_min": rules.stop_min}
    if rules.silent_after is not None:
        members |= {"silent_after": rules.silent_after, "max_silent": str(rules.max_silent)}
    return json.dumps(members)


def rules_from_json(text: str) -> RolloutRules:
    members = json.loads(text)
    if not members:  # the deployment is older than rollouts
        return AT_ONCE
    stages = [Stage(Fraction(share), Fraction(success), wait) for share, success, wait in members["stages"]]
    stop_at = members["stop_at"]
    rules = RolloutRules(tuple(stages), None if stop_at is None else Fraction(stop_at), members["stop_min"])
    if "silent_after" not in members:
        return rules
    return replace(rules, silent_after=members["silent_after"], max_silent=Fraction(members["max_silent"]))
