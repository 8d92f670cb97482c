"""The reports' members in AWS's spelling, and back: `agent_version` is AgentVersion. Pure.

The service model says what a structure is; the keys of maps and documents stay as they are. A member that is None is
left out.
"""

from datetime import datetime
from functools import cache
from typing import Any, TypeGuard

from botocore.model import ListShape, Shape, StructureShape

_NAMES = {"DeviceFleetName": "fleet", "DeviceName": "device", "DeploymentName": "deployment"}
_SAME = frozenset(
    {
        *("EdgeDeployment", "Definition", "Checksum", "DeploymentResult", "DeploymentModel"),
        *("AccessKeySummary", "CreateAccessKeyResponse", "UserSummary"),
    }
)
"""Structures that the reports spell as AWS does: those of `sagemaker-edge`, keys and users."""
_OURS = {"Definition": ("Size", "Version")}
"""Members of these that AWS's API has not: the reports always have them."""


def to_members(report: Any, shape: Shape) -> Any:
    """A report, or a part of one, as the output `shape` has it."""
    if isinstance(shape, ListShape):
        return [to_members(each, shape.member) for each in report]
    if not _is_spelled(shape):
        return report
    return {
        name: to_members(report[form], member) for name, form, member in _spelled(shape) if report.get(form) is not None
    }


def from_members(members: Any, shape: Shape) -> Any:
    """The report of an output; what the output leaves out is None. Times become Unix seconds, in microseconds."""
    if isinstance(shape, ListShape):
        return [from_members(each, shape.member) for each in members]
    if shape.type_name == "timestamp":
        return round(members.timestamp() if isinstance(members, datetime) else members, 6)
    if not _is_spelled(shape):
        return members
    optional = shape.name not in _SAME
    return {
        form: from_members(members[name], member) if name in members else None
        for name, form, member in _spelled(shape)
        if optional or name in members or name in _OURS.get(shape.name, ())
    }


def _is_spelled(shape: Shape) -> TypeGuard[StructureShape]:
    return isinstance(shape, StructureShape) and not shape.is_document_type


@cache
def _spelled(shape: StructureShape) -> list[tuple[str, str, Shape]]:
    """(member, its name in the report, its shape)."""
    is_same = shape.name in _SAME
    return [(name, name if is_same else _form(name), member) for name, member in shape.members.items()]


def _form(member: str) -> str:
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in member)
    return _NAMES.get(member) or words.removeprefix("_")
