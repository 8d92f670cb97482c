"""Roles, what each one may do, and what an access key is. No I/O.

An action is named as AWS names it: `sagemaker:CreateDeviceFleet`, `sagemaker-edge:SendHeartbeat`, `s3:GetObject` (which
is HeadObject too). Those of our own have `edge-manager` before the colon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto

from gateway.manager.api.operation_names import CONTROL_OPERATIONS, EDGE_OPERATIONS, OWN_OPERATIONS
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


@dataclass(frozen=True, slots=True)
class AccessKey:
    """AWS's pair of an access key id and a secret access key, and the role of whoever has it."""

    id: str
    secret: str = field(repr=False)
    role: str = Role.ADMIN


def _actions(service: str, names: str) -> list[str]:
    return [f"{service}:{name}" for name in names.split()]


_VIEWER = (
    *_actions("sagemaker", "DescribeDeviceFleet ListDeviceFleets GetDeviceFleetReport ListTags"),
    *_actions("sagemaker", "DescribeDevice ListDevices DescribeEdgePackagingJob ListEdgePackagingJobs"),
    *_actions("sagemaker", "DescribeCompilationJob ListCompilationJobs"),
    *_actions("sagemaker", "DescribeEdgeDeploymentPlan ListEdgeDeploymentPlans ListStageDevices"),
    *_actions("edge-manager", "ListDeployments DescribeDeployment ListDeploymentDevices ListDeviceDeployments"),
    *_actions("edge-manager", "ListDeviceReports CountDevices ListDeviceNames ListFleetReports GetDeviceReport"),
    *_actions(
        "edge-manager", "ListAlerts GetDeviceLog ListDeviceMetrics GetDeviceHistory GetDeviceSamples GetFleetHistory"
    ),
    *_actions("s3", "ListBucket ListAllMyBuckets GetBucketLocation"),
)
"""A viewer's, an operator's and an admin's."""
_OPERATOR = (
    *_actions("sagemaker", "CreateEdgePackagingJob StopEdgePackagingJob CreateCompilationJob StopCompilationJob"),
    *_actions("sagemaker", "DeleteCompilationJob CreateEdgeDeploymentPlan DeleteEdgeDeploymentPlan"),
    *_actions("sagemaker", "CreateEdgeDeploymentStage StartEdgeDeploymentStage StopEdgeDeploymentStage"),
    *_actions("sagemaker", "DeleteEdgeDeploymentStage"),
    *_actions("edge-manager", "Deploy Undeploy UndoDeployment PauseDeployment ResumeDeployment AbortDeployment"),
    *_actions("edge-manager", "MuteAlert UnmuteAlert"),
    *_actions("s3", "PutObject AbortMultipartUpload ListMultipartUploadParts ListBucketMultipartUploads"),
)
"""An operator's and an admin's."""
_ADMIN = (
    *_actions("sagemaker", "CreateDeviceFleet UpdateDeviceFleet DeleteDeviceFleet AddTags DeleteTags"),
    *_actions("sagemaker", "RegisterDevices UpdateDevices DeregisterDevices"),
    *_actions("edge-manager", "AddDevices LabelDevices CreateAccessKey ListAccessKeys RevokeAccessKey ListAudit"),
    *_actions("edge-manager", "CreateUser ListUsers DeleteUser ChangePassword"),
    *_actions("s3", "CreateBucket DeleteBucket DeleteObject"),
)
"""An admin's alone, as is whatever is in no table."""
_GATEWAY = tuple(_actions("sagemaker-edge", " ".join(EDGE_OPERATIONS)))
"""A gateway's and an admin's. GetDeployments is no read: the plan counts as fetched by the device then."""
_ONLY_ADMIN = frozenset({Role.ADMIN})
ROLES: Mapping[str, frozenset[Role]] = {
    "s3:GetObject": frozenset(Role),
    **dict.fromkeys(_GATEWAY, frozenset({Role.GATEWAY, Role.ADMIN})),
    **dict.fromkeys(_VIEWER, frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})),
    **dict.fromkeys(_OPERATOR, frozenset({Role.OPERATOR, Role.ADMIN})),
    **dict.fromkeys(_ADMIN, _ONLY_ADMIN),
}
"""Action -> the roles that may do it."""


def allows(role: str, action: str) -> bool:
    """Whether that role may do it. An admin may do all; what is in no table, nobody else."""
    return role in ROLES.get(action, _ONLY_ADMIN)


def requested_action(target: str | None, operation: str) -> str | None:
    """The action of a POST: `target` is its header X-Amz-Target, `operation` its path. None: there is no such one."""
    if target is None:
        return f"sagemaker-edge:{operation}" if operation in EDGE_OPERATIONS else None
    service, _, name = target.partition(".")
    if service == "EdgeManager":
        return f"edge-manager:{name}" if name in OWN_OPERATIONS else None
    return f"sagemaker:{name}" if service == "SageMaker" and name in CONTROL_OPERATIONS else None


def denial(key: str, action: str) -> str:
    return f"User: {key} is not authorized to perform: {action}"


def require(key: str, role: str, action: str) -> None:
    """Raises ApiError, with the status of the action's protocol, where the role does not allow it. `key`: its id."""
    if not allows(role, action):
        status = 403 if action.startswith("sagemaker-edge:") else 400
        raise ApiError("AccessDeniedException", denial(key, action), status)
