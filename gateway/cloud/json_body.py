"""A call -> the JSON that boto3 would send for it, byte for byte; a heartbeat's is built from pieces that repeat.

Pure but for the pieces that it keeps. A contract test holds it against botocore's serializer.
"""

import json
from functools import lru_cache

from gateway.cloud.serializer import members, result_members
from gateway.protocol.messages import Device, Metric
from gateway.protocol.service_calls import Call, DatedSample, ModelReport, SendHeartbeat

PIECES_KEPT = 16_384


def of(call: Call) -> bytes:
    """The body of the request, ASCII."""
    return _heartbeat(call) if isinstance(call, SendHeartbeat) else json.dumps(members(call)).encode("ascii")


def _heartbeat(call: SendHeartbeat) -> bytes:
    text = _start(call.agent_version) + _device(call.device)
    if call.metrics:
        text += f', "AgentMetrics": [{_metrics(call.metrics)}]'
    if call.models:
        text += f', "Models": [{", ".join([_model(model) for model in call.models])}]'
    if call.result is not None:
        text += f', "DeploymentResult": {json.dumps(result_members(call.result))}'
    return (text + "}").encode("ascii")


@lru_cache(PIECES_KEPT)
def _start(agent_version: str) -> str:
    return f'{{"AgentVersion": {json.dumps(agent_version)}, '


def _device(device: Device) -> str:
    """Names match the service's pattern, which leaves nothing to escape."""
    return f'"DeviceName": "{device.name}", "DeviceFleetName": "{device.fleet}"'


def _metrics(samples: tuple[DatedSample, ...]) -> str:
    return ", ".join([f'{_head(metric)}{value!r}, "Timestamp": {timestamp}}}' for metric, value, timestamp in samples])


@lru_cache(PIECES_KEPT)
def _head(metric: Metric) -> str:
    return f'{{"Dimension": {json.dumps(metric.dimension)}, "MetricName": {json.dumps(metric.name)}, "Value": '


def _model(model: ModelReport) -> str:
    text = _model_head(model.name, model.version)
    if model.latest_sample is not None:
        text += f', "LatestSampleTime": {model.latest_sample}'
    if model.latest_inference is not None:
        text += f', "LatestInference": {model.latest_inference}'
    if model.metrics:
        text += f', "ModelMetrics": [{_metrics(model.metrics)}]'
    return text + "}"


@lru_cache(PIECES_KEPT)
def _model_head(name: str, version: str) -> str:
    return f'{{"ModelName": {json.dumps(name)}, "ModelVersion": {json.dumps(version)}'
