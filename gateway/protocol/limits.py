"""The limits of the `sagemaker-edge` service model that botocore does not check before a call: lengths and patterns.

The service would reject such a message for good, so messages check them on construction. The figures are copied by hand
because the core must not load botocore; a contract test compares each with botocore's model.
"""

import re
from dataclasses import dataclass

from gateway.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limit:
    """One string shape of the service model. `shape` is its name there, lengths are in characters."""

    shape: str
    shortest: int
    longest: int
    pattern: re.Pattern[str]

    def check(self, text: str, what: str) -> None:
        """Raise LimitError where `text` breaks the limit; `what` names the place for a person."""
        if not self.shortest <= len(text) <= self.longest:
            raise LimitError(f"{what}: {len(text)} characters, {self.shape} takes {self.shortest} to {self.longest}")
        if not self.pattern.fullmatch(text):
            raise LimitError(f"{what}: {text[:80]!r} does not match {self.shape}'s pattern {self.pattern.pattern}")


def _limit(shape: str, shortest: int, longest: int, pattern: str) -> Limit:
    return Limit(shape, shortest, longest, re.compile(pattern))


_WORDS = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
_NAME = r"^[a-zA-Z0-9](-*_*[a-zA-Z0-9])*$"

DEVICE_FLEET_NAME = _limit("DeviceFleetName", 1, 63, _NAME)
DEVICE_NAME = _limit("DeviceName", 1, 63, _NAME)
VERSION = _limit("Version", 1, 64, r"[a-zA-Z0-9\ \_\.]+")
DIMENSION = _limit("Dimension", 1, 1000, r"^[a-zA-Z0-9](-*[a-zA-Z0-9\/])*$")
METRIC = _limit("Metric", 4, 100, _WORDS)
MODEL_NAME = _limit("ModelName", 4, 255, _WORDS)
ENTITY_NAME = _limit("EntityName", 1, 63, _WORDS)

ALL = (DEVICE_FLEET_NAME, DEVICE_NAME, VERSION, DIMENSION, METRIC, MODEL_NAME, ENTITY_NAME)
