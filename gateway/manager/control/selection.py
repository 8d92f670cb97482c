"""Which devices a stage of a deployment plan is for, by its DeviceSelectionConfig. No I/O."""

from collections.abc import Collection
from math import ceil

from gateway.manager.control.calls import Members
from gateway.manager.errors import validation_error
from gateway.manager.rollouts import rollout_order

_REQUIRED = {"PERCENTAGE": "Percentage", "SELECTION": "DeviceNames", "NAMECONTAINS": "DeviceNameContains"}
"""DeviceSubsetType -> the one member that it has."""


def check_selection(stage: str, config: Members) -> None:
    """Raises ApiError where a DeviceSelectionConfig has not the member of its type, or that of another one."""
    kind = config["DeviceSubsetType"]
    required = _REQUIRED[kind]
    if not config.get(required):
        least = "of 1 to 100" if kind == "PERCENTAGE" else "that is not empty"
        raise validation_error(f"stage {stage}: {kind} requires a {required} {least}")
    if required == "Percentage" and config[required] < 1:
        raise validation_error(f"stage {stage}: a Percentage is from 1 to 100")
    others = sorted(name for name in _REQUIRED.values() if name != required and name in config)
    if others:
        raise validation_error(f"stage {stage}: {kind} has a {required} and no {others[0]}")


def select_devices(plan: str, config: Members, devices: Collection[str]) -> list[str]:
    """Those of a fleet's devices that the stage is for, in the order in which the plan reaches them.

    PERCENTAGE: the first of that order, the share rounded up; so a larger one has all of a smaller one.
    """
    match config["DeviceSubsetType"]:
        case "PERCENTAGE":
            return rollout_order(plan, devices)[: ceil(config["Percentage"] * len(devices) / 100)]
        case "SELECTION":
            return rollout_order(plan, set(config["DeviceNames"]).intersection(devices))
        case _:
            return rollout_order(plan, (name for name in devices if config["DeviceNameContains"] in name))
