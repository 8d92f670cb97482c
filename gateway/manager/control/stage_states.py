"""What a plan, its stages and their devices are said to be, from the rollouts that carry them out. No I/O.

gateway/manager/README.md has the rules, "Plans and stages".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

from gateway.manager.control.calls import Members
from gateway.manager.rollouts import HALTED, REPLACED, Rollout, RolloutDeviceState, RolloutState, Stage

ACTIVE = ("STARTING", "INPROGRESS", "STOPPING")
"""A StageStatus of which more will come without an operator."""
_MESSAGES = {
    RolloutDeviceState.SUPERSEDED: "a newer deployment replaced it before the device reported a result",
    RolloutDeviceState.SKIPPED: "a newer deployment replaced it before the device asked for it",
    RolloutDeviceState.WITHDRAWN: "it was withdrawn before the device asked for it",
}

DeviceCounts: TypeAlias = Mapping[RolloutDeviceState, int]


@dataclass(frozen=True, slots=True)
class Counters:
    """Together as many as there are devices. `failed`: they reported FAIL, or never get it."""

    success: int = 0
    pending: int = 0
    failed: int = 0

    def members(self, suffix: str = "") -> dict[str, int]:
        names = {"Success": self.success, "Pending": self.pending, "Failed": self.failed}
        return {f"EdgeDeployment{name}{suffix}": value for name, value in names.items()}


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage as it is described. `started`: Unix seconds; None: not yet, or nobody knows."""

    name: str
    selection: Members
    policy: str
    status: str
    message: str = ""
    counters: Counters = Counters()
    started: float | None = None

    def members(self) -> dict[str, Any]:
        status: dict[str, Any] = {"StageStatus": self.status, **self.counters.members("InStage")}
        if self.message:
            status["EdgeDeploymentStatusMessage"] = self.message
        if self.started is not None:
            status["EdgeDeploymentStageStartTime"] = self.started
        return {
            "StageName": self.name,
            "DeviceSelectionConfig": self.selection,
            "DeploymentConfig": {"FailureHandlingPolicy": self.policy},
            "DeploymentStatus": status,
        }


def add_counters(counters: Iterable[Counters]) -> Counters:
    listed = list(counters)
    return Counters(*(sum(getattr(each, name) for each in listed) for name in Counters.__slots__))


def count(devices: DeviceCounts, state: RolloutState) -> Counters:
    """Of devices in a rollout of that state."""
    gone = {RolloutDeviceState.FAILED, RolloutDeviceState.WITHDRAWN, *REPLACED}
    if state in HALTED:
        gone.add(RolloutDeviceState.WAITING)
    success = devices.get(RolloutDeviceState.SUCCEEDED, 0)
    failed = sum(devices.get(each, 0) for each in gone)
    return Counters(success, sum(devices.values()) - success - failed, failed)


def stage_status(rollout: Rollout, devices: DeviceCounts) -> tuple[str, str]:
    """(StageStatus, message) of a stage with these devices, which the rollout has reached."""
    match rollout.progress.state:
        case RolloutState.RUNNING:
            return "INPROGRESS", ""
        case RolloutState.PAUSED:
            return "INPROGRESS", f"paused: `manager resume {rollout.fleet} {rollout.name}` lets it go on"
        case RolloutState.STOPPED:
            return "FAILED", rollout.reason
        case RolloutState.ABORTED:
            return ("STOPPING" if devices.get(RolloutDeviceState.ASSIGNED) else "STOPPED"), rollout.reason
    return _ended(devices)


def _ended(devices: DeviceCounts) -> tuple[str, str]:
    failed = devices.get(RolloutDeviceState.FAILED, 0)
    is_failed = failed > 0 and not devices.get(RolloutDeviceState.SUCCEEDED)
    message = f"{failed} of {sum(devices.values())} devices reported FAIL" if failed else ""
    return ("FAILED" if is_failed else "DEPLOYED"), message


def stages_of(rollout: Rollout, devices: Mapping[int, DeviceCounts]) -> list[StageView]:
    """A rollout of a command as stages with automatic gates. `devices`: of each stage, from 0, only its own."""
    return [_stage_of(rollout, number, devices.get(number, {})) for number in range(len(rollout.progress.rules.stages))]


def stage_name(number: int) -> str:
    """Of a stage, from 0, of a rollout that a command made."""
    return f"stage-{number + 1}"


def _stage_of(rollout: Rollout, number: int, devices: DeviceCounts) -> StageView:
    progress = rollout.progress
    stage = progress.rules.stages[number]
    if number == progress.stage:
        status, message = stage_status(rollout, devices)
    elif number < progress.stage:
        status, message = _ended(devices)
    elif progress.state in HALTED:
        status, message = "STOPPED", "the deployment ended before this stage"
    else:
        status, message = "READYTODEPLOY", _gate(progress.rules.stages[number - 1], number)
    return StageView(
        stage_name(number),
        {"DeviceSubsetType": "PERCENTAGE", "Percentage": ceil(stage.share * 100)},
        rollout.policy,
        status,
        message,
        count(devices, progress.state),
        rollout.created if number == 0 else None,
    )


def _gate(before: Stage, number: int) -> str:
    waits = f" and {before.wait:g} s have passed since it began" if before.wait else ""
    return f"starts by itself once {float(before.min_success * 100):g}% of {stage_name(number - 1)} succeeded{waits}"


def device_status(state: RolloutDeviceState, of: RolloutState) -> tuple[str, str]:
    """(DeviceDeploymentStatus, message) of a device in that state in a rollout in the state `of`."""
    halted = of in HALTED
    match state:
        case RolloutDeviceState.WAITING:
            return ("STOPPED" if halted else "READYTODEPLOY"), ""
        case RolloutDeviceState.ASSIGNED if halted:
            return "STOPPING", ""
        case RolloutDeviceState.SUCCEEDED:
            return "DEPLOYED", ""
        case RolloutDeviceState.FAILED:
            return "FAILED", ""
        case RolloutDeviceState.WITHDRAWN:
            return "STOPPED", _MESSAGES[state]
        case RolloutDeviceState.SUPERSEDED | RolloutDeviceState.SKIPPED:
            return "FAILED", _MESSAGES[state]
    return "INPROGRESS", ""
