"""What the rules of a rollout mean, in sentences. No I/O, no clock."""

from itertools import pairwise

from gateway.manager.reports import RolloutReport

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_words(seconds: float) -> str:
    """In the largest unit of which it is a whole number: 90 min, 2 h."""
    size, unit = next((each for each in _UNITS if seconds >= each[0] and not seconds % each[0]), _UNITS[-1])
    return f"{seconds / size:g} {unit}"


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
