"""ARNs of the control plane, made and read. No I/O.

arn:aws:sagemaker:REGION:ACCOUNT:RESOURCE, where RESOURCE is device-fleet/F, device-fleet/F/device/D,
edge-packaging-job/J, compilation-job/J or edge-deployment/P. Region and account are the site's: who calls with another
one is answered all the same, since a site has only one of each resource.
"""

import re
from dataclasses import dataclass

from gateway.manager.errors import ApiError, validation_error
from gateway.manager.store.control_tables import device_resource as device_resource

_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:(.+)")


@dataclass(frozen=True, slots=True)
class ArnScope:
    """What ARNs name beside the resource."""

    region: str = "us-east-1"
    account: str = "000000000000"

    def arn(self, resource: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{resource}"


def fleet_resource(fleet: str) -> str:
    return f"device-fleet/{fleet}"


def packaging_resource(job: str) -> str:
    return f"edge-packaging-job/{job}"


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
