"""Which devices a stage of a deployment plan is for, by its DeviceSelectionConfig. No I/O."""

from collections.abc import Iterable
from math import ceil

from gateway.manager.control.calls import Members
from gateway.manager.errors import validation_error
from gateway.manager.rollouts import place_of

_REQUIRED = {"PERCENTAGE": "Percentage", "SELECTION": "DeviceNames", "NAMECONTAINS": "DeviceNameContains"}
"""DeviceSubsetType -> the one member that it has."""
PLACE_BYTES = 32
"""Of what `place_of` returns."""


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


def is_for(config: Members, device: str) -> bool:
    """Whether the stage may be for a device of that name; of a PERCENTAGE the first ones of the order are."""
    match config["DeviceSubsetType"]:
        case "PERCENTAGE":
            return True
        case "SELECTION":
            return device in config["DeviceNames"]
        case _:
            return config["DeviceNameContains"] in device


class StageChoice:
    """Chooses the devices of a stage from those of a fleet, which are added in parts, in whatever order.

    PERCENTAGE: the first in the order in which the plan reaches them, the share rounded up; so a larger one has all of
    a smaller one. No step holds the interpreter for long: it sorts a million devices in pieces.
    """

    def __init__(self, plan: str, config: Members) -> None:
        self._plan = plan
        self._config = config
        self._devices = 0
        self._pieces: list[list[bytes]] = [[] for _ in range(256)]
        """By the first byte of the place: each place with the device's id. The collector never visits bytes."""

    def add(self, devices: Iterable[tuple[str, int]]) -> None:
        """(name, id)"""
        for name, number in devices:
            if is_for(self._config, name):
                place = place_of(self._plan, name)
                self._pieces[place[0]].append(place + number.to_bytes(8))
                self._devices += 1

    @property
    def _size(self) -> int:
        percentage: int = self._config.get("Percentage", 100)
        return ceil(percentage * self._devices / 100)

    def ids(self) -> list[int]:
        """Of the chosen devices, in the order in which the plan reaches them."""
        found: list[int] = []
        for piece in self._pieces:
            found += [int.from_bytes(each[PLACE_BYTES:]) for each in sorted(piece)]
        return found[: self._size]

    def last_place(self) -> bytes:
        """Of the last one that is chosen; empty: there is none."""
        before, size = 0, self._size
        for piece in self._pieces:
            if before < size <= before + len(piece):
                return sorted(piece)[size - before - 1][:PLACE_BYTES]
            before += len(piece)
        return b""
