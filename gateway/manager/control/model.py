"""Service models turned into checks of an input: botocore's of `sagemaker`, as far as Edge Manager goes, and our own.

None of botocore's limits is repeated here. Some are widened, since the data plane allows more: names of devices and
fleets may have an underscore, a version has 64 characters. A list of devices, which has no limit there, has one. This
file never performs an operation.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

from gateway.manager.api.operation_names import CONTROL_OPERATIONS, OWN_OPERATIONS
from gateway.manager.api.validation import Check, check_input, compile_shape
from gateway.manager.errors import ApiError
from gateway.manager.models import load_own_model

SAGEMAKER = "SageMaker"
"""What comes before the dot of X-Amz-Target."""
EDGE_MANAGER = "EdgeManager"
"""... of the operations that AWS's API has not."""
MOST_DEVICES = 1000
"""Of one call, which is one transaction: heartbeats wait for it."""
_DEVICE_PATTERN = "[a-zA-Z0-9](-*_*[a-zA-Z0-9])*"
_LIMITS: dict[str, dict[str, Any]] = {
    "EdgeVersion": {"max": 64, "pattern": "[a-zA-Z0-9._ -]+"},
    "NameContains": {"pattern": "[a-zA-Z0-9_-]+"},
    "Devices": {"min": 1, "max": MOST_DEVICES},
    "DeviceNames": {"min": 1, "max": MOST_DEVICES},
}
"""Shape -> limits in place of its own."""
_CATEGORIES = {r"\p{L}": r"\w", r"\p{N}": "", r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"}
"""In a class of characters; \\w is letters, numbers and _."""
_NAMES = ("DeviceName", "DeviceFleetName", "DeviceNames")
"""Members that hold names of devices or fleets."""


def load_service_model() -> ServiceModel:
    """The service model that the installed botocore ships, with the wider limits."""
    model: dict[str, Any] = Loader().load_service_model("sagemaker", "service-2")
    shapes = model["shapes"]
    for name, limits in _LIMITS.items():
        shapes[name] |= limits
    shapes["_Name"] = shapes["EntityName"] | {"pattern": _DEVICE_PATTERN}
    shapes["DeviceNames"] = shapes["DeviceNames"] | {"member": {"shape": "_Name"}}
    for shape in shapes.values():
        for name, member in shape.get("members", {}).items():
            if name in _NAMES and member["shape"] in ("EntityName", "DeviceName"):
                member["shape"] = "_Name"
    _python_patterns(shapes)
    return ServiceModel(model, "sagemaker")


def _python_patterns(shapes: dict[str, Any]) -> None:
    """Java's names of Unicode categories are not known to `re`."""
    for shape in shapes.values():
        if "\\p{" in shape.get("pattern", ""):
            for java, python in _CATEGORIES.items():
                shape["pattern"] = shape["pattern"].replace(java, python)


@cache
def _checks(service: str) -> Mapping[str, Check]:
    """Operation -> the check of its input. The first call for SAGEMAKER takes 0.3 s, which only who uses it pays."""
    if service == EDGE_MANAGER:
        found, names = load_own_model(), OWN_OPERATIONS
    else:
        found, names = load_service_model(), CONTROL_OPERATIONS
    shapes = {name: found.operation_model(name).input_shape for name in names}
    return {name: compile_shape(shape) for name, shape in shapes.items() if shape is not None}


def parse(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """The input of an operation, checked, with only the members that the model has. Raises ApiError.

    `service`: SAGEMAKER or EDGE_MANAGER. A ValidationException or a SerializationException, in AWS's words.
    """
    check = _checks(service).get(operation)
    if check is None:
        raise ApiError("UnknownOperationException", f"there is no operation '{operation[:80]}'")
    return check_input(check, body)
