"""Which deployments of a device are in force. No I/O, no clock.

The rule: a definition is in force until a newer deployment of the same device names its model handle. A deployment is
in force while one of its definitions is, and shows only those. An undeployment is a deployment whose definition has the
state UNDEPLOY. It stays in force until the handle is deployed again, so that a device that slept gets it too.

A deployment is halted where it was aborted, stopped or undone. It stays in force where it is, but is never in force
again once a newer one replaced it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

POLICIES = ("ROLLBACK_ON_FAILURE", "DO_NOTHING")
"""The values of FailureHandlingPolicy."""


@dataclass(frozen=True, slots=True)
class ModelDefinition:
    """The desired state of one model handle. `size` in bytes; `sha1`: 40 hex digits; an UNDEPLOY has no file."""

    handle: str
    state: str = "DEPLOY"
    url: str | None = None
    sha1: str | None = None
    size: int | None = None

    def to_api(self) -> dict[str, Any]:
        """The API's Definition. It has no member for a size."""
        members: dict[str, Any] = {"ModelHandle": self.handle, "State": self.state}
        if self.url is not None:
            members["S3Url"] = self.url
        if self.sha1 is not None:
            members["Checksum"] = {"Type": "SHA1", "Sum": self.sha1}
        return members


@dataclass(frozen=True, slots=True)
class DeviceDeployment:
    """One deployment to one device. `created` is in Unix seconds."""

    name: str
    policy: str
    definitions: tuple[ModelDefinition, ...]
    created: float

    def to_api(self) -> dict[str, Any]:
        return {
            "DeploymentName": self.name,
            "Type": "Model",
            "FailureHandlingPolicy": self.policy,
            "Definitions": [definition.to_api() for definition in self.definitions],
        }


def in_force(history: Iterable[DeviceDeployment]) -> list[DeviceDeployment]:
    """The deployments in force, each with its definitions in force. `history` and the result: in order of creation."""
    handles: set[str] = set()
    newest_first = []
    for deployment in reversed(list(history)):
        definitions = tuple(each for each in deployment.definitions if each.handle not in handles)
        if definitions:
            newest_first.append(replace(deployment, definitions=definitions))
        handles.update(each.handle for each in definitions)
    return newest_first[::-1]


def is_deployed(history: Iterable[DeviceDeployment], handle: str) -> bool:
    """Whether the deployments in force put that model handle onto the device."""
    return any(
        definition.handle == handle and definition.state == "DEPLOY"
        for deployment in in_force(history)
        for definition in deployment.definitions
    )


def fall_back(
    history: Iterable[DeviceDeployment], before: Iterable[DeviceDeployment], halted: Collection[str]
) -> list[DeviceDeployment]:
    """The deployments in force once a newer one was taken back, which is not in `history` any more.

    `before`: what was in force with it; `halted`: names. Of a halted one, only what was in force then.
    """
    shown = {each.name: each for each in before}
    known = (shown.get(each.name) if each.name in halted else each for each in history)
    return in_force(each for each in known if each is not None)


def undo_definitions(
    history: Iterable[DeviceDeployment], name: str, ended: Collection[str], succeeded: Collection[str]
) -> tuple[ModelDefinition, ...]:
    """What undoes the deployment `name`: for each of its handles in force the newest that succeeded, or UNDEPLOY.

    `ended`: names of those that are halted and in force no more; `succeeded`: of those that the device reported as
    SUCCESS, and that are not halted.
    """
    known = [each for each in history if each.name == name or each.name not in ended]
    others = in_force(each for each in known if each.name != name and each.name in succeeded)
    before = {definition.handle: definition for each in others for definition in each.definitions}
    handles = [definition.handle for each in in_force(known) if each.name == name for definition in each.definitions]
    return tuple(before.get(handle, ModelDefinition(handle, "UNDEPLOY")) for handle in handles)
