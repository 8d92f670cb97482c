"""Which devices a list of reports has. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from gateway.manager.api import to_us
from gateway.manager.store import has_labels
from gateway.manager.store.tables import DEVICE_MODELS, DEVICE_STATES, DEVICES


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Those for which all holds; None: no matter.

    `state`: as it is judged; `part`: of the name, in upper or lower case; `version`: of a model, the newest one of that
    name that the device reports; `labels`: it has each of them.
    """

    state: str | None = None
    part: str | None = None
    version: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != ANY

    @property
    def reads_names(self) -> bool:
        """Whether the conditions are of rows of DEVICES too; else of DEVICE_STATES alone."""
        return self.part is not None or bool(self.labels)

    def conditions(self, now: float) -> list[sa.ColumnElement[bool]]:
        """`now`: for what follows from silence. Of rows of DEVICE_STATES, FLEETS and DEVICES."""
        found: list[sa.ColumnElement[bool]] = []
        if self.state is not None:
            found.append(_judged(now) == self.state)
        if self.part is not None:
            found.append(DEVICES.c.name.icontains(self.part, autoescape=True))
        if self.version is not None:
            newest = sa.select(DEVICE_MODELS.c.device).where(DEVICE_MODELS.c.device == DEVICE_STATES.c.device)
            found.append(sa.exists(newest.where(DEVICE_MODELS.c.newest, DEVICE_MODELS.c.version == self.version)))
        return [*found, *has_labels(self.labels)]


ANY = DeviceFilter()


def _judged(now: float) -> sa.ColumnElement[str]:
    """What is stored holds until `due`."""
    return sa.case((DEVICE_STATES.c.due < to_us(now), "silent"), else_=DEVICE_STATES.c.state)
