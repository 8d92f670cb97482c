"""Roles, and what each one may do. No I/O.

An action is named as AWS names it: `sagemaker:CreateDeviceFleet`, `sagemaker-edge:SendHeartbeat`, `s3:GetObject`.
"""

from enum import StrEnum, auto

from gateway.manager.errors import ApiError


class Role(StrEnum):
    GATEWAY = auto()
    """The data plane, and reading models."""
    VIEWER = auto()
    """Reads."""
    OPERATOR = auto()
    """Deploys, too."""
    ADMIN = auto()
    """All."""


def allows(role: str, action: str) -> bool:
    """Whether that role may do it. Every role may, until keys have roles."""
    return role in set(Role)


def require(role: str, action: str) -> None:
    """Raises ApiError where that role may not do it."""
    if not allows(role, action):
        raise ApiError("AccessDeniedException", f"the role {role} is not authorized to perform: {action}", 400)
