"""Converts calls to parameters of the `sagemaker-edge` API, and its responses to values, in boto3's form.

Pure: it must never send a call. A member whose value is None is absent; so is an empty list.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from gateway import protocol
from gateway.errors import CloudError, OperatorError

DEFAULT_TTL = 300.0
"""Seconds for which a registration is valid if its CacheTTL is missing or unreadable."""

VERSION_HEADER = "x-edge-manager-version"
"""Of SendHeartbeat's response. It is not the API's: this project's Edge Manager adds it."""

ApiResponse: TypeAlias = protocol.Registration | tuple[protocol.Deployment, ...] | protocol.DeviceVersion | None
"""The response to a call; of a heartbeat a DeviceVersion, None where the service does not say it."""
OnApiResponse: TypeAlias = Callable[[ApiResponse | CloudError], None]


def to_request(call: protocol.Call) -> dict[str, Any]:
    device = {"DeviceName": call.device.name, "DeviceFleetName": call.device.fleet}
    if not isinstance(call, protocol.SendHeartbeat):
        return device
    return (
        {"AgentVersion": call.agent_version}
        | device
        | _present(
            AgentMetrics=_metrics(call.metrics),
            Models=[_model(model) for model in call.models],
            DeploymentResult=None if call.result is None else result_to_request(call.result),
        )
    )


def _present(**candidates: Any) -> dict[str, Any]:
    return {name: value for name, value in candidates.items() if value is not None and value != []}


def _metrics(samples: Iterable[protocol.DatedSample]) -> list[dict[str, Any]]:
    return [
        {"Dimension": metric.dimension, "MetricName": metric.name, "Value": value, "Timestamp": timestamp}
        for metric, value, timestamp in samples
    ]


def _model(model: protocol.ModelReport) -> dict[str, Any]:
    return {"ModelName": model.name, "ModelVersion": model.version} | _present(
        LatestSampleTime=model.latest_sample,
        LatestInference=model.latest_inference,
        ModelMetrics=_metrics(model.metrics),
    )


def result_to_request(result: protocol.DatedResult) -> dict[str, Any]:
    """SendHeartbeat's DeploymentResult."""
    return _present(
        DeploymentName=result.deployment,
        DeploymentStatus=result.status,
        DeploymentStatusMessage=result.message,
        DeploymentStartTime=result.start,
        DeploymentEndTime=result.end,
        DeploymentModels=None if result.models is None else [_model_result(model) for model in result.models],
    )


def _model_result(model: protocol.ModelResult) -> dict[str, Any]:
    return _present(
        ModelHandle=model.handle,
        ModelName=model.name,
        ModelVersion=model.version,
        DesiredState=model.desired,
        State=model.state,
        Status=model.status,
        StatusReason=model.reason,
        RollbackFailureReason=model.rollback_reason,
    )


def parse_response(call: protocol.Call, response: Mapping[str, Any]) -> ApiResponse:
    """The service's response to `call`, from the members that boto3 gives.

    boto3 does not validate responses. Raises OperatorError if it is not this API's: an outage must not look like a
    device that is not registered, or like a plan.
    """
    if isinstance(call, protocol.SendHeartbeat):
        version = response["ResponseMetadata"].get("HTTPHeaders", {}).get(VERSION_HEADER)
        return None if version is None else protocol.DeviceVersion(version)
    return parse_deployments(response) if isinstance(call, protocol.GetDeployments) else parse_registration(response)


def parse_registration(response: Mapping[str, Any]) -> protocol.Registration:
    """GetDeviceRegistration's response. CacheTTL is seconds in a string.

    RegistrationTime is not the API's: this project's Edge Manager adds it, None where the device is not registered, and
    boto3 drops it.
    """
    try:
        ttl = float(response.get("CacheTTL") or DEFAULT_TTL)
    except (ValueError, TypeError):
        ttl = DEFAULT_TTL
    status = response.get("DeviceRegistration")
    if status is None:
        raise OperatorError("NotTheApi", "an answer without DeviceRegistration: is the endpoint right?")
    since = response.get("RegistrationTime")
    known = isinstance(since, int | float) and not isinstance(since, bool) and isfinite(since)
    ttl = max(0.0, ttl) if isfinite(ttl) else DEFAULT_TTL
    ask_again = since is None and "RegistrationTime" in response
    return protocol.Registration(str(status), ttl, float(since) if known else None, ask_again)  # type: ignore[arg-type]


def parse_deployments(response: Mapping[str, Any]) -> tuple[protocol.Deployment, ...]:
    """GetDeployments' response, in the service's order."""
    return tuple(_deployment(each) for each in response.get("Deployments") or ())


def _deployment(each: Mapping[str, Any]) -> protocol.Deployment:
    definitions = each.get("Definitions")
    models = None if definitions is None else tuple(_definition(definition) for definition in definitions)
    name, policy = _text(each, "DeploymentName"), _text(each, "FailureHandlingPolicy")
    return protocol.Deployment(name, policy, models, _text(each, "Type"))


def _definition(each: Mapping[str, Any]) -> protocol.Definition:
    checksum = each.get("Checksum") or {}
    handle, state, url = _text(each, "ModelHandle"), _text(each, "State"), _text(each, "S3Url")
    return protocol.Definition(handle, state, _text(checksum, "Sum"), _text(checksum, "Type"), url)


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise OperatorError("NotTheApi", f"{name} is {value!r:.100}, no string: is the endpoint right?")
    return value
