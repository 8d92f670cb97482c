"""Which deployments of a device are in force. No I/O, no clock.

The rule: a definition is in force until a newer deployment of the same device names its model handle. A deployment is
in force while one of its definitions is, and shows only those. An undeployment is a deployment like any other, whose
definition has the state UNDEPLOY: it stays in force, so that a device that slept hears of it too, until the handle is
deployed again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Definition:
    """What shall become of one model handle. `size` is in bytes; `sha1` is 40 hex digits; an UNDEPLOY has no file."""

    handle: str
    state: str = "DEPLOY"
    url: str | None = None
    sha1: str | None = None
    size: int | None = None

    def to_api(self) -> dict[str, Any]:
        """The API's Definition. It has no member for a size."""
        answer: dict[str, Any] = {"ModelHandle": self.handle, "State": self.state}
        if self.url is not None:
            answer["S3Url"] = self.url
        if self.sha1 is not None:
            answer["Checksum"] = {"Type": "SHA1", "Sum": self.sha1}
        return answer


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment to one device. `created` is in Unix seconds."""

    name: str
    policy: str
    definitions: tuple[Definition, ...]
    created: float

    def to_api(self) -> dict[str, Any]:
        """The API's EdgeDeployment."""
        return {
            "DeploymentName": self.name,
            "Type": "Model",
            "FailureHandlingPolicy": self.policy,
            "Definitions": [definition.to_api() for definition in self.definitions],
        }


def in_force(history: Iterable[Deployment]) -> list[Deployment]:
    """The deployments in force, with the definitions in force, in order of creation, which is that of `history`."""
    taken: set[str] = set()
    answer = []
    for deployment in reversed(list(history)):
        left = tuple(definition for definition in deployment.definitions if definition.handle not in taken)
        if left:
            answer.append(replace(deployment, definitions=left))
        taken.update(definition.handle for definition in left)
    return answer[::-1]


def deployed(history: Iterable[Deployment], handle: str) -> bool:
    """Whether the deployments in force put that model handle onto the device."""
    return any(
        definition.handle == handle and definition.state == "DEPLOY"
        for deployment in in_force(history)
        for definition in deployment.definitions
    )


def undone(history: Iterable[Deployment], name: str) -> tuple[Definition, ...]:
    """What takes back what is in force of that deployment: of each handle what was before it, or its undeployment."""
    known = list(history)
    others = in_force(one for one in known if one.name != name)
    before = {each.handle: each for one in others for each in one.definitions}
    mine = [each.handle for one in in_force(known) if one.name == name for each in one.definitions]
    return tuple(before.get(handle, Definition(handle, "UNDEPLOY")) for handle in mine)
