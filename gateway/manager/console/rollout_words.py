"""What the rules of a rollout mean, what it waits for, and what a change would do, in sentences. No I/O, no clock."""

from dataclasses import dataclass
from itertools import pairwise

from gateway.manager.reports import RolloutReport
from gateway.manager.time_words import duration_words, time_left_words


def device_words(devices: int) -> str:
    return f"{devices:,} device" if devices == 1 else f"{devices:,} devices"


def stage_sentences(report: RolloutReport) -> list[str]:
    """One of each stage: how many devices get it, and when."""
    stages = report["stages"]
    if len(stages) == 1:
        return [f"{device_words(report['devices'])}: all at once."]
    said = [f"{device_words(stages[0]['devices'])} ({stages[0]['share']:g}%) at once."]
    for number, (before, stage) in enumerate(pairwise(stages), 1):
        more = stage["devices"] - before["devices"]
        succeeded = f"{before['min_success']:g}% of stage {number} succeeded" if before["min_success"] else ""
        lasted = f"stage {number} lasted {duration_words(before['wait'])}" if before["wait"] else ""
        gate = " and ".join(filter(None, (succeeded, lasted))) or f"stage {number} has begun"
        said.append(f"{more:,} more, {stage['devices']:,} in all ({stage['share']:g}%), once {gate}.")
    return said


def rule_sentences(report: RolloutReport) -> list[str]:
    """When it stops by itself, and what becomes of devices that are silent."""
    said = ["It stops by itself for no number of failures."]
    if report["stop_at"] is not None:
        said = [f"It stops by itself where more than {report['stop_at']:g}% of the results are FAIL"]
        said[0] += f", of {report['stop_min']:,} results at least." if report["stop_min"] > 1 else "."
    if report["silent_after"] is not None:
        silent = f"A device that is silent for {duration_words(report['silent_after'])} counts as not reached"
        said.append(f"{silent}; a stage may be without {report['max_silent']:g}% of its devices so.")
    return said


def gate_sentences(report: RolloutReport) -> list[str]:
    """What the rollout waits for; empty once it has ended."""
    gate, stage, stages = report["gate"], report["stage"], report["stages"]
    if gate is None:
        return []
    if report["state"] == "paused":
        return ["It is paused: no further device gets it until it is resumed. Results still count."]
    to_give = stages[stage - 1]["devices"] - (report["devices"] - report["waiting"])
    if to_give > 0:
        return [f"{device_words(to_give)} of stage {stage} get it now."]
    silent = [_silent_sentence(report)] if report["not_reached"] else []
    if stage == len(stages):
        return [f"It ends once all have reported a result: {device_words(gate['pending'])} more.", *silent]
    said = [f"{gate['required']:,} of {device_words(gate['devices'])} must succeed before stage {stage + 1} starts."]
    said.append(f"{report['succeeded']:,} succeeded, {report['failed']:,} failed, {gate['pending']:,} pending.")
    missing = gate["required"] - report["succeeded"]
    if missing > 0:
        said.append(f"{missing:,} more must succeed.")
    if gate["remaining"]:
        before = "" if missing > 0 else "Enough succeeded. "
        said.append(f"{before}Stage {stage} lasts {time_left_words(gate['remaining'])} more, at least.")
    elif missing <= 0:
        said.append(f"Enough succeeded: stage {stage + 1} starts.")
    return said + silent


def _silent_sentence(report: RolloutReport) -> str:
    said = f"Devices that are silent and count as not reached: {report['not_reached']:,}"
    if report["gate"] is not None and not report["gate"]["silent"]:
        return f"{said}; more than {report['max_silent']:g}% of the stage, so it waits for them."
    return f"{said}; it does not wait for them."


@dataclass(frozen=True, slots=True)
class RolloutChange:
    """`name`: as its button says it. `does`: what follows. `devices`: how many of them it changes."""

    name: str
    operation: str
    does: str
    devices: int


def possible_changes(report: RolloutReport) -> list[RolloutChange]:
    """What an operator can do with a rollout in that state."""
    have = report["succeeded"] + report["failed"] + report["pending"]
    to_come = report["waiting"]
    keep = "Devices that have it keep it, and results still count."
    changes = []
    if report["state"] == "running":
        does = f"{device_words(to_come)} that wait do not get it, nor do those that have not asked for it yet,"
        changes.append(RolloutChange("Pause", "PauseDeployment", f"{does} until it is resumed. {keep}", 0))
    if report["state"] == "paused":
        does = f"It goes on in stage {report['stage']}: {device_words(to_come)} may still get it."
        changes.append(RolloutChange("Resume", "ResumeDeployment", does, to_come))
    if report["gate"] is not None:
        does = f"It ends for good: {device_words(to_come)} that wait never get it, and those that have not asked for"
        changes.append(RolloutChange("Abort", "AbortDeployment", f"{does} it yet do not either. {keep}", to_come))
    if have:
        ends = "It ends for good. " if report["gate"] is not None else ""
        does = f"{ends}Each of {device_words(have)} that have it, or may have, gets what it had before: what it last"
        does += " reported as SUCCESS, or else the model is removed. That is a rollout of its own, to all at once."
        changes.append(RolloutChange("Undo", "UndoDeployment", does, have))
    return changes
