"""Encodes a call as the JSON that boto3 would send, byte for byte. A heartbeat is built from cached parts.

Pure but for the caches. A contract test compares it with botocore's serializer.
"""

import json
from functools import lru_cache

from gateway.cloud.serializer import result_to_request, to_request
from gateway.protocol import Call, DatedSample, ModelReport, SendHeartbeat

CACHED_PARTS = 16_384


def encode(call: Call) -> bytes:
    """The body of the request, ASCII."""
    if not isinstance(call, SendHeartbeat):
        return json.dumps(to_request(call)).encode("ascii")
    # Names match the service's pattern, which leaves nothing to escape.
    device = call.device
    text = f'{_version(call.agent_version)}"DeviceName": "{device.name}", "DeviceFleetName": "{device.fleet}"'
    if call.metrics:
        text += f', "AgentMetrics": [{_metrics(call.metrics)}]'
    if call.models:
        text += f', "Models": [{", ".join([_model(model) for model in call.models])}]'
    if call.result is not None:
        text += f', "DeploymentResult": {json.dumps(result_to_request(call.result))}'
    return (text + "}").encode("ascii")


@lru_cache(CACHED_PARTS)
def _version(agent_version: str) -> str:
    return f'{{"AgentVersion": {json.dumps(agent_version)}, '


def _metrics(samples: tuple[DatedSample, ...]) -> str:
    return ", ".join(
        [
            f'{_name(metric.dimension, metric.name)}{value!r}, "Timestamp": {timestamp}}}'
            for metric, value, timestamp in samples
        ]
    )


@lru_cache(CACHED_PARTS)
def _name(dimension: str, metric: str) -> str:  # of two strings, since a Metric is hashed by Python code
    return f'{{"Dimension": {json.dumps(dimension)}, "MetricName": {json.dumps(metric)}, "Value": '


def _model(model: ModelReport) -> str:
    text = _model_name(model.name, model.version)
    if model.latest_sample is not None:
        text += f', "LatestSampleTime": {model.latest_sample}'
    if model.latest_inference is not None:
        text += f', "LatestInference": {model.latest_inference}'
    if model.metrics:
        text += f', "ModelMetrics": [{_metrics(model.metrics)}]'
    return text + "}"


@lru_cache(CACHED_PARTS)
def _model_name(name: str, version: str) -> str:
    return f'{{"ModelName": {json.dumps(name)}, "ModelVersion": {json.dumps(version)}'
