"""Whether what a client parsed has what the service model says of an operation's output."""

from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


@cache
def _service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def wrong_output(operation: str, output: dict[str, Any]) -> str:
    """What is wrong, or missing; empty: nothing."""
    members = {name: value for name, value in output.items() if name != "ResponseMetadata"}
    shape: Any = _service().operation_model(operation).output_shape
    report: str = ParamValidator().validate(members, shape).generate_report()
    return report
