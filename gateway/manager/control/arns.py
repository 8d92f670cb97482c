"""ARNs of the control plane, made and read. No I/O.

arn:aws:sagemaker:REGION:ACCOUNT:RESOURCE, where RESOURCE is device-fleet/F, device-fleet/F/device/D,
edge-packaging-job/J, compilation-job/J or edge-deployment/P. Region and account are the site's: who calls with another
one is answered all the same, since a site has only one of each resource.
"""

import re
from dataclasses import dataclass

from gateway.manager.errors import ApiError, ManagerError, validation_error
from gateway.manager.store.control_tables import device_resource as device_resource
from gateway.manager.store.control_tables import fleet_resource as fleet_resource
from gateway.manager.store.control_tables import packaging_resource as packaging_resource

_REGION = re.compile("[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile("[0-9]{12}")
_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:(.+)")


@dataclass(frozen=True, slots=True)
class ArnScope:
    """What ARNs name beside the resource: an AWS region, and the 12 digits of an account. Raises ManagerError."""

    region: str = "us-east-1"
    account: str = "000000000000"

    def __post_init__(self) -> None:
        if not _REGION.fullmatch(self.region):
            raise ManagerError(f"--region '{self.region}' is not a region: lower-case letters, digits, hyphens")
        if not _ACCOUNT.fullmatch(self.account):
            raise ManagerError(f"--account '{self.account}' is not an account: 12 digits")

    def arn(self, resource: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{resource}"


def compilation_resource(job: str) -> str:
    return f"compilation-job/{job}"


def plan_resource(plan: str) -> str:
    return f"edge-deployment/{plan}"


def parse_arn(arn: str) -> str:
    """The resource. Raises ApiError."""
    match = _ARN.fullmatch(arn)
    if match is None:
        raise validation_error(f"'{arn[:256]}' is not the ARN of a resource of SageMaker")
    return match[1]


def not_found(resource: str) -> ApiError:
    return validation_error(f"there is no resource {resource}")
